/** Whether what the agent keeps is for its own user alone. */
import { type Dirent, opendirSync } from 'node:fs';
import { chmod, lstat, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { PRIVATE_FOLDER } from '../disk/private.ts';
import { fail, type Outcome, pass, warn } from './check.ts';

/** What users other than the owner may do, in a mode. */
const OTHERS = 0o077;
/** So many are looked at: one that is open is enough to tell. */
const MAX_LOOKED_AT = 100_000;

/**
 * Looks whether another user of this host can read what lies in a folder of the agent's. Where the
 * folder itself is closed, nobody gets to what is in it.
 *
 * @param isMended whether to close it
 */
export async function checkPermissions(path: string, isMended: boolean): Promise<Outcome> {
  const root = await realpath(path).catch(() => null);
  // It is made, closed, when something is kept.
  if (root === null) return pass(`"${path}" is not there yet`);
  const { mode } = await lstat(root);
  if ((mode & OTHERS) === 0) return pass(`"${path}" is for its owner alone`);
  const open = await findOpen(root);
  if (open === null && !isMended) return pass(`what lies in "${path}" is for its owner alone`);
  if (!isMended) {
    return warn(
      `"${open}" can be read by other users of this host`,
      'codebegen-storage doctor --fix closes it for all but its owner',
    );
  }
  try {
    await chmod(root, PRIVATE_FOLDER);
    return pass(`"${path}" is closed for all but its owner`);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return fail(`"${path}" cannot be closed: ${code}`, `As its owner: chmod 700 "${path}"`);
  }
}

/** The first that others can read, by what they pass through; `null` where there is none. */
async function findOpen(root: string): Promise<string | null> {
  let looked = 0;
  for (const entry of entriesOf(root)) {
    const path = join(root, entry.name);
    if (!entry.isDirectory() && !entry.isFile()) continue;
    const { mode } = await lstat(path);
    if ((mode & OTHERS) !== 0) return path;
    looked++;
    if (looked >= MAX_LOOKED_AT) return null;
  }
  return null;
}

function* entriesOf(folder: string): Generator<Dirent> {
  const opened = opendirSync(folder);
  try {
    for (let entry = opened.readSync(); entry !== null; entry = opened.readSync()) yield entry;
  } finally {
    opened.closeSync();
  }
}
