import type { Catalog } from '../catalog/catalog.ts';
import type { CloudCopies, CloudObjects } from '../cloud/cloud.ts';
import type { ClaimedCopy, CopyResult } from '../cloud/copies.ts';
import { isOutage } from '../cloud/outage.ts';
import { FILES_AT_ONCE, formatProjectFile, projectFileKey } from '../cloud/project-file.ts';
import { StorageError } from '../contract.ts';
import type { ReplicaObjects } from '../replicas/replica-objects.ts';
import type { Store } from '../store/store.ts';
import { Lanes } from '../threads/lanes.ts';
import { backoffMs } from '../upload/backoff.ts';
import { copyArchive, NoSource } from './copy.ts';

export type Parts = Readonly<{
  store: Store;
  catalog: Catalog;
  objects: CloudObjects;
  copies: CloudCopies;
  random: () => number;
  /** Ends it: what is under way is owed still. */
  signal: AbortSignal;
  onProblem: (error: unknown) => void;
}>;

/** What was done. @property outage why the replica could not be asked; `null` where it answered */
export type Done = Readonly<{
  copied: number;
  removed: number;
  failed: number;
  outage: StorageError | null;
}>;

/** So many are claimed at once, and so many of them are under way at a time. */
const CLAIM = 16;
const LANES = 4;
/** What is refused for good is tried again once a day, or when somebody asks: `replicas sync`. */
const REFUSED_WAIT_MS = 24 * 3_600_000;

/**
 * Does some of what is owed to a replica: copies, and removes what is to go.
 *
 * @param hostId as of {@link CloudCopies.claim}
 * @returns `null` where nothing was owed
 * @throws StorageError of the database
 */
export async function workOff(
  parts: Parts,
  name: string,
  replica: ReplicaObjects,
  hostId: string | null,
): Promise<Done | null> {
  const claimed = await parts.copies.claim(name, hostId, CLAIM);
  if (claimed.length === 0) return null;
  const results: CopyResult[] = [];
  let outage: StorageError | null = null;
  const lanes = new Lanes(LANES);
  for (const copy of claimed) {
    await lanes.run(async () => {
      // The others would wait for what does not answer, one after another.
      const result = outage === null ? await work(parts, replica, copy) : held(copy, outage);
      results.push(result);
      if ('error' in result && isOutage(result.error)) outage ??= result.error;
    });
  }
  await lanes.idle();
  await parts.copies.note(name, results.map(plain));
  const count = (outcome: CopyResult['outcome']) =>
    results.filter((result) => result.outcome === outcome).length;
  return { copied: count('copied'), removed: count('removed'), failed: count('failed'), outage };
}

type Result = CopyResult & { error?: unknown };

const plain = ({ error: _, ...result }: Result): CopyResult => result;

const placeOf = ({ bucket, object_key, project_id, version }: ClaimedCopy) => ({
  ...{ bucket, object_key, project_id, version },
});

async function work(parts: Parts, replica: ReplicaObjects, copy: ClaimedCopy): Promise<Result> {
  const place = placeOf(copy);
  try {
    if (copy.state === 'unneeded') {
      await replica.remove(copy.object_key);
      return { ...place, outcome: 'removed' };
    }
    return { ...place, outcome: 'copied', sha256: await copyArchive(parts, replica, copy) };
  } catch (error) {
    if (parts.signal.aborted) return held(copy, null);
    const reason = reasonOf(error);
    if (!isOutage(reason)) parts.onProblem(reason);
    return failed(parts, copy, error);
  }
}

/** What it is told as: of the bucket that is copied from its own words. */
const reasonOf = (error: unknown): unknown => (error instanceof NoSource ? error.cause : error);

function failed({ random }: Parts, copy: ClaimedCopy, error: unknown): Result {
  const reason = reasonOf(error);
  const isForGood = reason instanceof StorageError && !reason.retryable && !isOutage(reason);
  const wait_ms = isForGood ? REFUSED_WAIT_MS : backoffMs(copy.attempts, random(), null);
  // What is no word of ours may name anything.
  const failure = reason instanceof StorageError ? reason.message : 'Something went wrong here';
  return { ...placeOf(copy), outcome: 'failed', failure, wait_ms, error };
}

/** One that was claimed, and not tried: the replica is away, or this ends. */
function held(copy: ClaimedCopy, outage: StorageError | null): Result {
  const failure = outage?.message ?? null;
  return { ...placeOf(copy), outcome: 'failed', failure, wait_ms: 0 };
}

/** A revision that no file has. */
const NONE_WRITTEN = 0;

/**
 * Writes the files of projects into a replica that tell there no longer how it is.
 *
 * @returns how many
 * @throws StorageError of the database, and of the replica: what was not written is owed still
 */
export async function writeFiles(
  { copies }: Parts,
  name: string,
  replica: ReplicaObjects,
): Promise<number> {
  for (let written = 0; ; ) {
    const claimed = await copies.claimProjects(name);
    const puts = await Promise.allSettled(
      claimed.map(({ project_id: id, file }) =>
        replica.putText(projectFileKey(id), formatProjectFile(file)),
      ),
    );
    // One that was not written is given back.
    const items = claimed.map(({ project_id, revision }, i) => ({
      project_id,
      revision: puts[i]?.status === 'fulfilled' ? revision : NONE_WRITTEN,
    }));
    if (items.length > 0) await copies.noteProjects(name, items);
    for (const put of puts) if (put.status === 'rejected') throw put.reason;
    written += claimed.length;
    if (claimed.length < FILES_AT_ONCE) return written;
  }
}
