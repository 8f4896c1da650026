/** The catalog of a store, opened by a test beside whoever else has it open. */
import { DatabaseSync } from 'node:sqlite';
import { Layout } from '../../node-agent/store/layout.ts';

/** The catalog under `storePath`. Like every writer it waits for one that is at work. */
export function openCatalog(storePath: string): DatabaseSync {
  return new DatabaseSync(new Layout(storePath).catalog, { timeout: 10_000 });
}
