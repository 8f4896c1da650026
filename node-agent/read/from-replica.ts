import type { Cache } from '../cache/cache.ts';
import type { CacheEntry } from '../cache/entry.ts';
import { keyOf, refOf } from '../catalog/generation-row.ts';
import { isOutage } from '../cloud/outage.ts';
import { isInCloud, type Ref, StorageError } from '../contract.ts';
import type { ReplicaObjects } from '../replicas/replica-objects.ts';
import { findInReplica, type ReplicaReader } from '../replicas/replica-reader.ts';
import { type Copy, fetchCopy, type Want } from './fetch-copy.ts';

type Parts = Readonly<{
  cache: Cache;
  replicas: ReplicaReader;
  onProblem: (error: unknown) => void;
}>;

/** Gets from a replica what the cloud does not give. */
export class FromReplica {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Whether there is any. */
  get isThere(): boolean {
    return this.#parts.replicas.list().length > 0;
  }

  /**
   * @param known what the database says of it; `null` where it could not be asked
   * @returns the copy, in the cache; `null` where no replica has it
   */
  get(want: Want, known: Copy | null): Promise<CacheEntry | null> {
    return this.#first(async (objects) => {
      let failure: unknown = null;
      for (const copy of await copiesOf(objects, want, known)) {
        try {
          const download = (file: string) => objects.download(copy.key, file);
          const how = { layOut: want.layOut, isAsked: known !== null };
          return await fetchCopy(this.#parts.cache, copy, download, how);
        } catch (error) {
          if (!(error instanceof StorageError) || isOutage(error)) throw error;
          failure = error;
        }
      }
      if (failure !== null) throw failure;
      return null;
    });
  }

  /**
   * A URL of a copy that is there.
   *
   * @param expiresIn seconds; it may be good for less, as what is returned says
   * @returns `null` where no replica has it
   */
  sign(want: Want, known: Copy | null, expiresIn: number, nameOf: (ref: Ref) => string) {
    return this.#first(async (objects) => {
      const [copy] = await copiesOf(objects, want, known);
      const info = copy && (await objects.info(copy.key));
      if (info == null || copy === undefined) return null;
      const seconds = Math.min(expiresIn, objects.mostSeconds);
      const url = await objects.sign(copy.key, seconds, nameOf(copy.ref));
      return { url, expiresIn: seconds, sha256: copy.sha256, size: info.bytes };
    });
  }

  /** From the first replica that has it. What one says keeps nobody from the next. */
  async #first<T>(ask: (objects: ReplicaObjects) => Promise<T | null>): Promise<T | null> {
    const { replicas, onProblem } = this.#parts;
    for (const replica of replicas.list()) {
      try {
        const got = await ask(await replicas.open(replica));
        if (got !== null) return got;
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        if (!ABSENT.has(error.code)) onProblem(toldOf(replica.name, error));
      }
    }
    return null;
  }
}

/** It may not be there yet, or not be there any more. */
const ABSENT: ReadonlySet<string> = new Set(['not_found', 'unavailable']);

function toldOf(name: string, error: StorageError): StorageError {
  const message = `Cannot read from replica "${name}": ${error.message}`;
  return new StorageError(error.code, message, { cause: error });
}

/** Where it may lie: as the database says, else as this host uploaded it, else as the bucket tells. */
async function copiesOf(
  objects: ReplicaObjects,
  { projectId, version, generationId, row }: Want,
  known: Copy | null,
): Promise<readonly Copy[]> {
  if (known !== null) return [known];
  const isOwn = row !== null && isInCloud(row.status) && row.cloud_digest === null;
  if (isOwn && row.sha256 !== null) {
    return [{ ref: refOf(row), key: keyOf(row), sha256: row.sha256, digest: row.digest }];
  }
  const found = await findInReplica(objects, projectId, version, generationId);
  if (found === null) return [];
  const { ref, digest, places } = found;
  // Where it is known what it has to hold, it is any of them; else the one that was sent last.
  const some = digest === null ? places.slice(0, 1) : places;
  return some.map(({ key }) => ({ ref, key, sha256: null, digest }));
}
