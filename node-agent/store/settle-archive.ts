import {
  closeSync,
  existsSync,
  linkSync,
  mkdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { StoredTar } from '../archive/stored-tar.ts';
import { StorageError } from '../contract.ts';
import { NotAFile, openInside } from '../disk/open-inside.ts';
import { PRIVATE_FOLDER } from '../disk/private.ts';
import { readArchiveFacts } from './archive-facts.ts';
import { syncPathHere } from './durable.ts';
import { type ArchiveFacts, hashFile } from './hash.ts';
import { inGeneration, listTars, tarName } from './layout.ts';
import { lanesFor, type Parallel, writeArchive } from './stage.ts';

/**
 * Makes the archive of what a save laid down in a tar, every file compared with its manifest, and
 * removes the tar once the archive lasts. What it is is in place before it is. May be repeated after
 * a crash: an archive that is what was written down of it stays, any other is made again.
 *
 * @param scratch a folder to make and remove, on the same file system
 * @returns `null` where there is no tar: it is settled, replaced or deleted
 * @throws StorageError `corrupt` where the tar is not what its manifest says
 */
export async function settleArchive(
  input: { folder: string; scratch: string } & Parallel,
): Promise<ArchiveFacts | null> {
  try {
    return await settle(input);
  } catch (error) {
    // It was replaced or deleted meanwhile.
    const isGone =
      (error as NodeJS.ErrnoException).code === 'ENOENT' ||
      (error instanceof NotAFile && error.problem === 'missing');
    if (isGone) return null;
    if (!(error instanceof NotAFile)) throw error;
    throw new StorageError('corrupt', `Cannot read the archive: ${error.message}`, {
      cause: error,
    });
  } finally {
    rmSync(input.scratch, { recursive: true, force: true });
  }
}

async function settle(
  input: { folder: string; scratch: string } & Parallel,
): Promise<ArchiveFacts | null> {
  const { folder } = input;
  const [name] = listTars(folder);
  if (name === undefined) return null;
  const made = (await findMade(folder, name)) ?? (await make(input, name));
  if (made !== null) rmSync(join(folder, name), { force: true });
  return made;
}

/**
 * The archive of what lies in the tar, where an earlier settling left it whole; else nothing of it is
 * left. By the digest that was written down with it: whoever settled what was replaced meanwhile, and
 * had lost its lock, may have put another one here.
 */
async function findMade(folder: string, tar: string): Promise<ArchiveFacts | null> {
  const archive = inGeneration.archive(folder);
  if (!existsSync(archive)) return null;
  const root = realpathSync(folder);
  const facts = readArchiveFacts({ root, path: inGeneration.archiveFacts('') });
  const found = await hashFile(archive);
  const isOfTar = tarName(facts?.digest ?? '') === tar;
  if (isOfTar && facts?.sha256 === found.sha256) {
    // The crash may have come before this.
    syncPathHere(archive);
    syncPathHere(folder);
    return found;
  }
  rmSync(archive);
  return null;
}

/** @returns `null` where another one came to be there meanwhile: its content was replaced */
async function make(
  { folder, scratch, ...parallel }: { folder: string; scratch: string } & Parallel,
  name: string,
): Promise<ArchiveFacts | null> {
  mkdirSync(scratch, { recursive: true, mode: PRIVATE_FOLDER });
  const facts = await pack(folder, name, scratch, parallel);
  for (const part of ['archive', 'archiveFacts'] as const) {
    syncPathHere(inGeneration[part](scratch));
  }
  // Whoever settles without its lock may come too late: what took the place keeps its own.
  statSync(join(folder, name));
  renameSync(inGeneration.archiveFacts(scratch), inGeneration.archiveFacts(folder));
  const archive = inGeneration.archive(folder);
  const isPut = putInPlace(inGeneration.archive(scratch), archive);
  // Who settled it at the same time made the same.
  if (!isPut && (await hashFile(archive)).sha256 !== facts.sha256) return null;
  syncPathHere(folder);
  return facts;
}

async function pack(
  folder: string,
  name: string,
  scratch: string,
  parallel: Parallel,
): Promise<ArchiveFacts> {
  const fd = openInside(realpathSync(folder), name);
  try {
    const tar = new StoredTar(fd);
    const { manifest } = tar;
    if (tarName(manifest.digest) !== name) {
      throw new StorageError('corrupt', `Cannot read "${name}": it holds other content`);
    }
    return await writeArchive(scratch, manifest, tar.read, lanesFor(parallel));
  } finally {
    closeSync(fd);
  }
}

/** File systems without hard links, each by how it says so. */
const NO_LINKS: ReadonlySet<string> = new Set([
  'EPERM',
  'ENOTSUP',
  'EOPNOTSUPP',
  'ENOSYS',
  'EMLINK',
]);

/** Never over what is there. @returns whether it was put there */
function putInPlace(made: string, place: string): boolean {
  try {
    linkSync(made, place);
    return true;
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST' || (NO_LINKS.has(code) && existsSync(place))) return false;
    if (!NO_LINKS.has(code)) throw error;
    renameSync(made, place);
    return true;
  }
}
