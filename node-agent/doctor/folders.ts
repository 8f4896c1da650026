/** Whether the folders of this host are fit to keep generations. */
import { randomUUID } from 'node:crypto';
import { rename, rm, rmdir, statfs, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fromFileSystem } from '../disk/file-errors.ts';
import { makeFolders } from '../disk/make-folders.ts';
import { openFileLimit } from '../disk/open-files.ts';
import { fail, messageOf, type Outcome, pass, remedyFor, warn } from './check.ts';

/** Less than this is soon full. */
const LITTLE_BYTES = 1e9;
const LITTLE_SHARE = 0.05;
const LITTLE_INODES = 1000;
/** Linux' numbers of file systems that are reached over a network: NFS, SMB, SMB2, CIFS, FUSE. */
const REMOTE = new Set([0x6969, 0x517b, 0xfe534d42, 0xff534d42, 0x65735546]);

/** Whether a folder can be made, written, synced and renamed in, and has room. */
export async function checkFolder(path: string, variable: string): Promise<Outcome> {
  const scratch = join(path, `.doctor-${randomUUID()}`);
  let made: string | undefined;
  try {
    made = makeFolders(path);
    await writeFile(scratch, 'doctor', { flag: 'wx', flush: true });
    await rename(scratch, `${scratch}-2`);
  } catch (error) {
    const known = fromFileSystem(error, `write to "${path}"`);
    const otherwise = `Let this user write there, or set ${variable}`;
    return fail(messageOf(known), remedyFor(known, otherwise));
  } finally {
    await rm(scratch, { force: true }).catch(() => {});
    await rm(`${scratch}-2`, { force: true }).catch(() => {});
  }
  const room = await checkRoom(path, variable);
  // A name that was mistyped is no folder afterwards.
  for (let at = path; made !== undefined; at = dirname(at)) {
    await rmdir(at).catch(() => {});
    if (at === made || at === dirname(at)) break;
  }
  return room;
}

async function checkRoom(path: string, variable: string): Promise<Outcome> {
  const { type, bavail, blocks, bsize, ffree, files } = await statfs(path);
  if (REMOTE.has(type)) {
    return warn(
      `"${path}" lies on a file system of the network`,
      `Set ${variable} to a local disk: locks and fsync are not what they are there`,
    );
  }
  const free = bavail * bsize;
  const room =
    free < 1e9 ? `${Math.floor(free / 1e6)} MB free` : `${(free / 1e9).toFixed(1)} GB free`;
  if (free < LITTLE_BYTES || bavail / blocks < LITTLE_SHARE) {
    return warn(`"${path}" has only ${room}`, 'Make room: a save on a full disk fails');
  }
  if (files > 0 && (ffree < LITTLE_INODES || ffree / files < LITTLE_SHARE)) {
    return warn(`"${path}" has only ${ffree} inodes free`, 'Make room: each save takes a few');
  }
  return pass(`"${path}" can be written, ${room}`);
}

/** Saves, uploads and readers at once each have some open. */
const PLENTY_OF_FILES = 1024;

/** Whether this process, and whatever is started like it, may open enough files. */
export function checkFileLimit(): Outcome {
  const limit = openFileLimit();
  if (limit === null) return pass('their limit cannot be asked here');
  const why = `${limit} at once`;
  if (limit >= PLENTY_OF_FILES) return pass(why);
  return warn(why, `Raise it: ulimit -n ${PLENTY_OF_FILES}, or LimitNOFILE of the unit`);
}
