import { randomBytes } from 'node:crypto';
import type { ArchiveFile } from '../cloud/archive-file.ts';
import type { ObjectInfo } from '../cloud/object-info.ts';
import { StorageError } from '../contract.ts';
import type { ReplicaObjects } from './replica-objects.ts';

/** Where a file lies while a bucket is tried: a name that no project has. */
const PROBE_FOLDER = '.codebegen-storage';

/**
 * Writes a small file, reads it and removes it.
 *
 * @param look what is looked at while it is there
 * @throws StorageError of what fails, `unavailable` where it is not there then
 */
export async function probe(
  objects: Pick<ReplicaObjects, 'putText' | 'readText' | 'info' | 'remove'>,
  doing: string,
  who: string,
  look: (key: string) => Promise<void> = async () => {},
): Promise<void> {
  const text = '{}\n';
  const key = `${PROBE_FOLDER}/${randomBytes(8).toString('hex')}.json`;
  await objects.putText(key, text);
  try {
    const isThere = (await objects.info(key)) !== null && (await objects.readText(key)) === text;
    if (!isThere) throw new StorageError('unavailable', `Cannot ${doing}: ${who} lost a file`);
    await look(key);
  } finally {
    await objects.remove(key);
  }
}

/** Whether an object is an archive, by a hash that this host computed: its MD5 where the eTag is one, else of its bytes. */
async function isProven(
  info: ObjectInfo,
  archive: ArchiveFile,
  readBack: () => Promise<string>,
): Promise<boolean> {
  if (info.bytes !== archive.bytes) return false;
  return info.etag === archive.md5 || (await readBack()) === archive.sha256;
}

/**
 * Stores an archive, unless it is there, and proves it then.
 *
 * @param who as `replica "far"`
 * @param send gives what is known of the object after it
 * @returns whether it was sent
 * @throws StorageError as {@link ReplicaObjects.put}
 */
export async function putProven(
  objects: Pick<ReplicaObjects, 'info' | 'readBack' | 'remove'>,
  key: string,
  archive: ArchiveFile,
  { who, send }: Readonly<{ who: string; send: () => Promise<ObjectInfo | null> }>,
): Promise<boolean> {
  const isWhole = (info: ObjectInfo) => isProven(info, archive, () => objects.readBack(key));
  const known = await objects.info(key);
  if (known !== null) {
    if (await isWhole(known)) return false;
    throw otherBytes(key, who);
  }
  const sent = await send();
  if (sent !== null && (await isWhole(sent))) return true;
  await objects.remove(key);
  const state = `${who} stored other bytes`;
  throw new StorageError('corrupt', `Cannot copy "${key}": ${state}`, { retryable: true });
}

/** @param who as `replica "far"` */
export function publicBucket(doing: string, who: string): StorageError {
  const state = `${who} is public, so that anybody reads what lies there. Make it private`;
  return new StorageError('forbidden', `Cannot ${doing}: ${state}`);
}

/** A key is for the bytes of one archive: whatever else lies there was put there behind our back. */
function otherBytes(key: string, who: string): StorageError {
  const state = `other bytes lie there in ${who}. Is the bucket used by another installation? Where it is not: codebegen-storage verify --replica`;
  return new StorageError('conflict', `Cannot copy "${key}": ${state}`);
}
