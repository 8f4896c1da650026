import { rm } from 'node:fs/promises';
import type { Catalog } from '../catalog/catalog.ts';
import type { ArchiveFile } from '../cloud/archive-file.ts';
import type { CloudObjects } from '../cloud/cloud.ts';
import type { ClaimedCopy } from '../cloud/copies.ts';
import { StorageError } from '../contract.ts';
import type { ReplicaObjects } from '../replicas/replica-objects.ts';
import { hashFile } from '../store/hash.ts';
import type { Store } from '../store/store.ts';

type Parts = Readonly<{ store: Store; catalog: Catalog; objects: CloudObjects }>;

/** Thrown of what the bucket that is copied from said: the replica is not to blame. */
export class NoSource extends Error {}

/**
 * Copies an archive into a replica, from the disk of this host where it is there, else from the bucket. May be repeated.
 *
 * @returns the sha256 of what lies there then
 * @throws NoSource where it could not be had, StorageError as {@link ReplicaObjects.put}
 */
export async function copyArchive(
  parts: Parts,
  replica: ReplicaObjects,
  copy: ClaimedCopy,
): Promise<string> {
  const archive = await archiveHere(parts, copy);
  if (archive !== null) {
    await replica.put(copy.object_key, archive);
    return archive.sha256;
  }
  const fetched = parts.store.staging.path();
  try {
    const found = await fetchArchive(parts, copy, fetched);
    await replica.put(copy.object_key, found);
    return found.sha256;
  } finally {
    await rm(fetched, { force: true });
  }
}

/** The archive in this store, whose bytes are what the database says; `null` where it is not here. */
async function archiveHere(
  { store }: Parts,
  { project_id: projectId, version, generation_id: generationId, sha256 }: ClaimedCopy,
): Promise<ArchiveFile | null> {
  if (generationId === null) return null;
  const ref = { projectId, version, generationId };
  const found = store.has(ref) ? await store.archives.find(ref) : null;
  if (found === null || found.sha256 !== sha256) return null;
  return (await store.archives.isSound(ref)) ? found : null;
}

async function fetchArchive(
  { objects }: Parts,
  { bucket, object_key: key, sha256 }: ClaimedCopy,
  path: string,
): Promise<ArchiveFile> {
  try {
    const got = await objects.download(key, path, bucket);
    if (sha256 !== null && got.sha256 !== sha256) {
      const state = 'the bucket holds other bytes. Mend it: codebegen-storage verify --repair';
      throw new StorageError('corrupt', `Cannot copy "${key}": ${state}`);
    }
  } catch (error) {
    if (error instanceof StorageError) throw new NoSource(error.message, { cause: error });
    throw error;
  }
  return { ...(await hashFile(path)), path };
}
