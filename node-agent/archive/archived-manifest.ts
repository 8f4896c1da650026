import { fstatSync } from 'node:fs';
import { constants, gunzipSync } from 'node:zlib';
import { type Manifest, parseManifest } from '../contract.ts';
import { readBegin } from '../disk/read-begin.ts';
import { damaged, MANIFEST, MANIFEST_BYTES } from './own-manifest.ts';
import { readPlainEntry } from './plain-tar.ts';

/** What is read of an archive at first: the manifest of a thousand files lies in it. */
const FIRST_BYTES = 64 * 1024;

/**
 * The manifest of an archive of ours, where it comes first: no more is read than it takes.
 *
 * @param fd the open archive
 * @throws StorageError `corrupt` where it is no archive of ours
 */
export function readArchivedManifest(fd: number): Manifest {
  const { size } = fstatSync(fd);
  for (let bytes = FIRST_BYTES; ; bytes *= 4) {
    const tar = gunzipBegin(readBegin(fd, Math.min(bytes, size)));
    const entry = readPlainEntry(tar, 0);
    if (entry !== null && entry.path !== MANIFEST) throw damaged('its manifest is not first');
    if (entry !== null && tar.length >= entry.begin + entry.size) {
      return parseManifest(tar.toString('utf8', entry.begin, entry.begin + entry.size), MANIFEST);
    }
    if (bytes >= size) throw damaged('it ends before its manifest does');
  }
}

function gunzipBegin(begin: Buffer): Buffer {
  try {
    const finishFlush = constants.Z_SYNC_FLUSH;
    return gunzipSync(begin, { finishFlush, maxOutputLength: 2 * MANIFEST_BYTES });
  } catch (error) {
    throw damaged((error as Error).message, error);
  }
}
