import { ArchiveReader } from '../archive/archive-reader.ts';
import { readArchivedManifest } from '../archive/archived-manifest.ts';
import { findBlocks } from '../archive/find-blocks.ts';
import { checkComplete, checkItself, damaged } from '../archive/own-manifest.ts';
import type { CompleteManifest, Limits } from '../contract.ts';
import { openFileInside } from '../disk/open-inside.ts';
import type { Place } from '../disk/read-file.ts';
import type { WrittenFacts } from './archive-facts.ts';
import { hashFile } from './hash.ts';

/**
 * Finds out from the bytes of an archive what it is, what it holds, and where its blocks are. Each file is
 * compared with its hash.
 *
 * @param digest what it has to hold; `null`: whatever it holds
 * @throws StorageError `corrupt` where it is no whole archive of ours, or of other content; `invalid_input`
 *   that names a path; `too_large`
 */
export async function describeArchive(
  path: string,
  place: Place,
  { digest, limits }: Readonly<{ digest: string | null; limits: Limits }>,
): Promise<{ manifest: CompleteManifest; facts: WrittenFacts }> {
  const handle = await openFileInside(place.root, place.path);
  try {
    const manifest = checkComplete(readArchivedManifest(handle.fd));
    if (digest !== null && manifest.digest !== digest) throw damaged('it holds other content');
    checkItself(manifest, limits);
    const blockIndex = await findBlocks(handle, manifest);
    await (await ArchiveReader.open(handle, blockIndex)).check();
    const hashes = await hashFile(path);
    return { manifest, facts: { ...hashes, digest: manifest.digest, blockIndex } };
  } finally {
    await handle.close();
  }
}
