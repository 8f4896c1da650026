import { isDeepStrictEqual } from 'node:util';
import { generationsInBucket, type InBucket, listedArchives } from '../cloud/in-bucket.ts';
import { ProjectFileReader } from '../cloud/project-file.ts';
import { connectReplica, type Reach } from './connect-replica.ts';
import type { Replica } from './replica.ts';
import type { ReplicaFiles } from './replica-files.ts';
import type { ReplicaObjects } from './replica-objects.ts';

type Parts = Readonly<{
  files: ReplicaFiles;
  reach: Reach;
  /** Ends every request when the agent stops. */
  signal: AbortSignal;
}>;

/** The replicas of which this host has the keys, for who reads where the cloud does not answer. */
export class ReplicaReader {
  readonly #parts: Parts;
  readonly #open = new Map<string, { replica: Replica; opened: Promise<ReplicaObjects> }>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Those there are, by name. */
  list(): readonly Replica[] {
    return this.#parts.files.list();
  }

  /** @throws StorageError `invalid_input` where its file holds no key */
  open(replica: Replica): Promise<ReplicaObjects> {
    const { reach, signal } = this.#parts;
    const known = this.#open.get(replica.name);
    if (known !== undefined && isDeepStrictEqual(known.replica, replica)) return known.opened;
    const opened = connectReplica(replica, signal, reach);
    this.#open.set(replica.name, { replica, opened });
    // Its key may be there the next time.
    opened.catch(() => this.#open.delete(replica.name));
    return opened;
  }
}

/**
 * A generation as a replica knows it, where no database can be asked: one that is deleted is not there.
 *
 * @param generationId the one of several that have its version; `undefined`: any
 * @returns `null` where there is none
 * @throws StorageError `unavailable`; `corrupt` where the file of its project is none: nobody knows then what is deleted
 */
export async function findInReplica(
  objects: ReplicaObjects,
  projectId: string,
  version: number,
  generationId?: string,
): Promise<InBucket | null> {
  const archives = await listedArchives(objects.listArchives(projectId));
  const file = await new ProjectFileReader(objects).read(projectId);
  for (const found of generationsInBucket(objects.bucket, file, archives)) {
    if (found.ref.version !== version) continue;
    if (generationId === undefined || found.ref.generationId === generationId) return found;
  }
  return null;
}
