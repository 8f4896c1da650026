import type { CloudCopies } from '../cloud/cloud.ts';
import type { ListedCopy } from '../cloud/copies.ts';
import { StorageError } from '../contract.ts';
import type { ReplicaObjects } from '../replicas/replica-objects.ts';

/** A copy that was read back. */
export type CheckedCopy = Readonly<{
  projectId: string;
  version: number;
  key: string;
  /** Why it is not whole; `null` where it is. */
  reason: string | null;
  /** Whether it is owed again. */
  owed: boolean;
}>;

export type CheckOptions = Readonly<{
  /** This project alone. */
  projectId?: string;
  /** Whether what is damaged is removed, and what is not whole is owed again. @default false */
  repair?: boolean;
  /** Ends it after the one that is read. */
  signal?: AbortSignal;
}>;

type Parts = Readonly<{ copies: CloudCopies; replica: ReplicaObjects }>;

/**
 * Reads every copy back, one after another, and compares its hash with that which was noted when it was proven.
 *
 * @throws StorageError `unavailable`: it says nothing of the bytes
 */
export async function* checkCopies(
  parts: Parts,
  name: string,
  { projectId: only, repair = false, signal }: CheckOptions,
): AsyncGenerator<CheckedCopy> {
  const { copies } = parts;
  for await (const copy of copies.list(name, only)) {
    if (signal?.aborted === true) return;
    if (copy.state !== 'copied') continue;
    const reason = await problemOf(parts.replica, copy);
    if (reason !== null && !(await isThereStill(copies, name, copy))) continue;
    const owed = reason !== null && repair;
    if (owed) await owe(parts, name, copy);
    const { project_id: projectId, version, object_key: key } = copy;
    yield { projectId, version, key, reason, owed };
  }
}

async function problemOf(replica: ReplicaObjects, copy: ListedCopy): Promise<string | null> {
  try {
    const sha256 = await replica.readBack(copy.object_key);
    return sha256 === copy.sha256 ? null : 'other bytes lie there';
  } catch (error) {
    if (error instanceof StorageError && error.code === 'not_found') return 'nothing lies there';
    throw error;
  }
}

/** What was purged while it was read is missed by nobody. */
async function isThereStill(
  copies: CloudCopies,
  name: string,
  { bucket, object_key, project_id }: ListedCopy,
): Promise<boolean> {
  for await (const now of copies.list(name, project_id)) {
    const isIt = now.bucket === bucket && now.object_key === object_key;
    if (isIt) return now.state === 'copied';
  }
  return false;
}

async function owe({ copies, replica }: Parts, name: string, copy: ListedCopy): Promise<void> {
  const { bucket, object_key } = copy;
  await replica.remove(object_key);
  await copies.lose(name, [{ bucket, object_key }]);
}
