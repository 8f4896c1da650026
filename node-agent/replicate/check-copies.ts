import type { CloudCopies } from '../cloud/cloud.ts';
import type { ListedCopy } from '../cloud/copies.ts';
import { StorageError } from '../contract.ts';
import type { ReplicaObjects } from '../replicas/replica-objects.ts';

/** A copy that is not whole. */
export type CopyProblem = Readonly<{
  projectId: string;
  version: number;
  key: string;
  reason: string;
  /** Whether it is owed again. */
  repaired: boolean;
}>;

/**
 * Reads every copy back, one after another, and compares its hash with that which was noted when it was proven.
 *
 * @param options.repair whether what is damaged is removed, and what is not whole is owed again
 */
export async function* checkCopies(
  { copies, replica }: Readonly<{ copies: CloudCopies; replica: ReplicaObjects }>,
  name: string,
  { repair, signal }: Readonly<{ repair: boolean; signal?: AbortSignal }>,
): AsyncGenerator<CopyProblem> {
  for await (const copy of copies.list(name)) {
    if (signal?.aborted === true) return;
    if (copy.state !== 'copied') continue;
    const reason = await problemOf(replica, copy);
    if (reason === null) continue;
    const { bucket, object_key, project_id: projectId, version } = copy;
    if (repair) {
      await replica.remove(object_key);
      await copies.lose(name, [{ bucket, object_key }]);
    }
    yield { projectId, version, key: object_key, reason, repaired: repair };
  }
}

/** @throws StorageError `unavailable`: it says nothing of the bytes */
async function problemOf(replica: ReplicaObjects, copy: ListedCopy): Promise<string | null> {
  try {
    const sha256 = await replica.readBack(copy.object_key);
    return sha256 === copy.sha256 ? null : 'other bytes lie there';
  } catch (error) {
    if (error instanceof StorageError && error.code === 'not_found') return 'nothing lies there';
    throw error;
  }
}
