/** What runs in a worker thread: the heavy work of a save, which would stall the event loop. */
import { type ErrorCode, type Limits, StorageError } from '../contract.ts';
import { fromFileSystem } from './durable.ts';
import type { Source } from './source.ts';
import { digestSource, type Staged, type StageInput, stageGeneration } from './stage.ts';

/** An outcome that crosses threads: an Error would lose its code. */
export type Outcome<T> =
  | { value: T }
  | { failure: { code: ErrorCode; message: string; cause: unknown } };

export function stage(input: StageInput): Promise<Outcome<Staged>> {
  return settle(() => stageGeneration(input), `save into "${input.folder}"`);
}

export function digest(input: { source: Source; limits: Limits }): Promise<Outcome<string>> {
  return settle(async () => digestSource(input.source, input.limits), 'read what is to be saved');
}

async function settle<T>(work: () => Promise<T>, doing: string): Promise<Outcome<T>> {
  try {
    return { value: await work() };
  } catch (error) {
    const known = fromFileSystem(error, doing);
    if (!(known instanceof StorageError)) throw error;
    return { failure: { code: known.code, message: known.message, cause: known.cause } };
  }
}
