import { hash } from 'node:crypto';
import { closeSync, fstatSync } from 'node:fs';
import { constants, gunzipSync } from 'node:zlib';
import { ArchiveReader } from '../archive/archive-reader.ts';
import { readArchivedManifest } from '../archive/archived-manifest.ts';
import { findBlocks } from '../archive/find-blocks.ts';
import {
  checkComplete,
  checkItself,
  damaged,
  entriesOf,
  MANIFEST,
} from '../archive/own-manifest.ts';
import { INDEXED_ABOVE } from '../archive/pack.ts';
import { readPlainEntry } from '../archive/plain-tar.ts';
import { type CompleteManifest, entryNameOf, type Limits, parseManifest } from '../contract.ts';
import { openFileInside, openInside } from '../disk/open-inside.ts';
import { readBegin } from '../disk/read-begin.ts';
import type { Place } from '../disk/read-file.ts';
import type { WrittenFacts } from './archive-facts.ts';
import { hashFile } from './hash.ts';

type Wanted = Readonly<{ digest: string | null; limits: Limits }>;
type Description = Readonly<{ manifest: CompleteManifest; facts: WrittenFacts }>;

/**
 * Finds out from the bytes of an archive what it is, what it holds, and where its blocks are. Each file is
 * compared with its hash.
 *
 * @param wanted.digest what it has to hold; `null`: whatever it holds
 * @throws StorageError `corrupt` where it is no whole archive of ours, or of other content; `invalid_input`
 *   that names a path; `too_large`
 */
export async function describeArchive(
  path: string,
  place: Place,
  wanted: Wanted,
): Promise<Description> {
  const small = readSmall(place);
  const described = small === null ? null : describeSmall(small, wanted);
  if (described !== null) return described;
  const handle = await openFileInside(place.root, place.path);
  try {
    const manifest = checkWanted(readArchivedManifest(handle.fd), wanted);
    const blockIndex = await findBlocks(handle, manifest);
    await (await ArchiveReader.open(handle, blockIndex)).check();
    const hashes = await hashFile(path);
    return { manifest, facts: { ...hashes, digest: manifest.digest, blockIndex } };
  } finally {
    await handle.close();
  }
}

/** All of an archive; `null` where it is not small. */
function readSmall({ root, path }: Place): Buffer | null {
  const fd = openInside(root, path);
  try {
    const { size } = fstatSync(fd);
    return size > INDEXED_ABOVE ? null : readBegin(fd, size);
  } finally {
    closeSync(fd);
  }
}

/** Most are small: one of them is read and unpacked once. `null` where it has an index. */
function describeSmall(archive: Buffer, wanted: Wanted): Description | null {
  const tarBytes = archive.length < 4 ? 0 : archive.readUInt32LE(archive.length - 4);
  if (tarBytes > INDEXED_ABOVE) return null;
  const tar = unpack(archive, tarBytes);
  let at = 0;
  const next = () => {
    const entry = readPlainEntry(tar, at);
    if (entry === null) throw damaged('it is no archive of ours');
    at = entry.end;
    return { name: entry.path, content: tar.subarray(entry.begin, entry.begin + entry.size) };
  };
  const first = next();
  if (first.name !== MANIFEST) throw damaged('its manifest is not first');
  const manifest = checkWanted(parseManifest(first.content.toString(), MANIFEST), wanted);
  const { source, artifacts } = entriesOf(manifest);
  const missing = new Map(
    [...source].map(([path, entry]) => [entryNameOf({ folder: 'source', path }), entry]),
  );
  for (const [path, entry] of artifacts) {
    missing.set(entryNameOf({ folder: 'artifacts', path }), entry);
  }
  while (at < tar.length && tar[at] !== 0) {
    const { name, content } = next();
    const entry = missing.get(name);
    const isIt = entry?.size === content.length && entry.sha256 === hash('sha256', content);
    if (!isIt) throw damaged(`"${name}" is not what it was`);
    missing.delete(name);
  }
  for (const name of missing.keys()) throw damaged(`"${name}" is missing`);
  const { digest } = manifest;
  const hashes = { sha256: hash('sha256', archive), md5: hash('md5', archive) };
  return { manifest, facts: { bytes: archive.length, ...hashes, digest, blockIndex: null } };
}

function checkWanted(found: Parameters<typeof checkComplete>[0], { digest, limits }: Wanted) {
  const manifest = checkComplete(found);
  if (digest !== null && manifest.digest !== digest) throw damaged('it holds other content');
  checkItself(manifest, limits);
  return manifest;
}

/** @param bytes how many come, as the archive itself says */
function unpack(archive: Buffer, bytes: number): Buffer {
  try {
    // In one piece, and not full: else another is asked for, and both are copied.
    const chunkSize = Math.max(constants.Z_MIN_CHUNK, bytes + 1);
    return gunzipSync(archive, { chunkSize, maxOutputLength: INDEXED_ABOVE });
  } catch (error) {
    throw damaged((error as Error).message, error);
  }
}
