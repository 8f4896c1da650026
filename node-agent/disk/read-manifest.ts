import { join } from 'node:path';
import { type Manifest, parseManifest, StorageError } from '../contract.ts';
import { NotAFile } from './open-inside.ts';
import { type Place, readText } from './read-file.ts';

/**
 * The manifest of a generation.
 *
 * @throws StorageError `corrupt`, also where there is none, or a link in its place
 */
export function readManifest(place: Place): Manifest {
  const found = findManifest(place);
  if (found !== null) return found;
  throw new StorageError('corrupt', `Cannot read "${join(place.root, place.path)}": it is missing`);
}

/** As {@link readManifest}; `null` where there is none. */
export function findManifest(place: Place): Manifest | null {
  const text = findText(place);
  return text === null ? null : parseManifest(text, join(place.root, place.path));
}

/**
 * A small file of the store; `null` where there is none.
 *
 * @throws StorageError `corrupt` where something else is in its place
 */
export function findText(place: Place): string | null {
  return ifThere(place, () => readText(place));
}

/**
 * Does something with a file of the store; `null` where there is none.
 *
 * @throws StorageError `corrupt` where something else is in its place
 */
export function ifThere<T>(place: Place, use: () => T): T | null {
  try {
    return use();
  } catch (error) {
    if (!(error instanceof NotAFile)) throw error;
    if (error.problem === 'missing') return null;
    const path = join(place.root, place.path);
    throw new StorageError('corrupt', `Cannot read "${path}": it is ${error.problem}`, {
      cause: error,
    });
  }
}
