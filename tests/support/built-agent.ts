import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { bundle, writeBundle } from '../../node-agent/bundle.ts';
import { ROOT } from './run.ts';

/** Beside the packages, which are found from there. */
const CACHE = join(ROOT, 'node_modules/.cache/codebegen-agent');
/** Programs that are run by tests, and use the agent as a library. */
const PROGRAMS = ['tests/chaos/child', 'tests/crash/load', 'tests/crash/program'];

/**
 * The agent, built from the source as it is now, as it is published: hundreds of programs are run,
 * each starts in half the time.
 *
 * @returns its folder, named by its content: another run that uses it is not disturbed
 */
export async function buildAgent(): Promise<string> {
  const programs = PROGRAMS.map((name) => [name, join(ROOT, `${name}.ts`)]);
  const built = await bundle(Object.fromEntries(programs));
  const hash = createHash('sha256').update(JSON.stringify(built.map(({ code }) => code)));
  const folder = join(CACHE, hash.digest('hex').slice(0, 16));
  if (existsSync(folder)) return folder;
  mkdirSync(CACHE, { recursive: true });
  const making = mkdtempSync(join(CACHE, 'making-'));
  writeBundle(making, built);
  // Tests run it as another user too.
  chmodSync(making, 0o755);
  try {
    renameSync(making, folder);
  } catch (error) {
    rmSync(making, { recursive: true });
    // Another run was first.
    if (!existsSync(folder)) throw error;
  }
  return folder;
}
