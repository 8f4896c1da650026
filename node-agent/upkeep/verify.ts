import type { Catalog } from '../catalog/catalog.ts';
import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import type { Cloud } from '../cloud/cloud.ts';
import { isInCloud, type Ref, StorageError } from '../contract.ts';
import { isDiskFull } from '../disk/file-errors.ts';
import type { Tell } from '../events/events.ts';
import type { Store } from '../store/store.ts';
import type { Locks } from './locks.ts';
import { mendInCloud, proveInCloud } from './proof.ts';

/** After which generation to go on. */
export type VerifyPosition = Readonly<{ projectId: string; version: number }>;

export type VerifyOptions = Readonly<{
  /** This project alone. */
  projectId?: string;
  after?: VerifyPosition;
  /** Whether to read what lies on this host. @default true */
  store?: boolean;
  /** Whether to make whole what is damaged on this host. @default false */
  repair?: boolean;
  /** Whether to read back what lies in the cloud, where it is on. @default true */
  cloud?: boolean;
  /** How many of them, from 0 to 1, chosen at random. @default 1 */
  sample?: number;
  /** Ends it, in the middle of a generation too: that one is not told of. */
  signal?: AbortSignal;
}>;

/** What was found of one generation: nothing is the matter with it where there are no problems. */
export type Verified = Readonly<
  Ref & {
    problems: readonly { where: 'store' | 'cloud'; reason: string }[];
    /** Why nobody knows what the cloud has of it; `null` where it was read back, or not asked for. */
    unproven: string | null;
    /** Whether what was the matter on this host was, and nothing is any more. */
    repaired: boolean;
  }
>;

/**
 * Reads generations, one after another by project and version, and compares every byte with the
 * hashes that were recorded. What the cloud has not, or has in other bytes, is owed to it again; what is
 * damaged here is repaired where that is asked for. What has no hashes, being of the Python system, is passed over.
 *
 * @throws StorageError `unavailable` where the cloud cannot be asked: it says nothing of the bytes
 */
export async function* verifyAll(
  parts: Readonly<{
    store: Store;
    /** Why nothing can be written to the store; `null` where it can. */
    unwritable: StorageError | null;
    catalog: Catalog;
    cloud: Cloud | null;
    locks: Locks;
    onEvent: Tell;
    /** Returns what is the matter still. */
    repair: (row: GenerationRow) => Promise<string[]>;
    random: () => number;
    now: () => number;
  }>,
  options: VerifyOptions,
): AsyncGenerator<Verified> {
  const { store = true, cloud = true, repair = false, sample = 1, projectId, signal } = options;
  const { catalog } = parts;
  for (const row of catalog.generations.stored(projectId ?? null, options.after)) {
    if (row.digest === null || parts.random() >= sample) continue;
    const ref = refOf(row);
    const problems: Verified['problems'][number][] = [];
    const tellDamage = (where: 'store' | 'cloud', reasons: readonly string[], mended: boolean) => {
      if (reasons.length === 0) return;
      const reason = reasons.join('; ');
      parts.onEvent({ kind: 'generation.damaged', ...ref, where, reason, mended });
    };
    let repaired = false;
    let unproven: string | null = null;
    if (store && parts.store.has(ref)) {
      const reasons = await checkAlone(parts, ref, row.digest, signal);
      if (signal?.aborted) return;
      const left = repair && reasons.length > 0 ? await parts.repair(row) : reasons;
      repaired = left.length < reasons.length && left.length === 0;
      problems.push(...reasons.map((reason) => ({ where: 'store' as const, reason })));
      tellDamage('store', reasons, repaired);
    }
    if (store && !isInCloud(row.status) && parts.store.folderOf(ref) === null) {
      const reason = 'nothing of it can be read here, and it is not in the cloud';
      problems.push({ where: 'store', reason });
    }
    if (cloud && parts.cloud !== null && isInCloud(row.status)) {
      const both = { ...parts, ...parts.cloud };
      const proving = proveInCloud(both, row, { readBack: true }).catch(notReadBack);
      const problem = await orEnded(proving, signal);
      if (signal?.aborted) return;
      if (problem === NO_ROOM) unproven = 'it cannot be read back: the disk is full';
      else if (problem !== null) {
        problems.push({ where: 'cloud', reason: problem.reason });
        await mendInCloud(both, row, problem);
        // It is sent again from here.
        tellDamage('cloud', [problem.reason], parts.store.has(ref) && parts.unwritable === null);
      }
    }
    yield { ...ref, problems, unproven, repaired };
  }
}

/** It is read back by a file: without room for that nobody knows. */
const NO_ROOM = Symbol('no room');

function notReadBack(error: unknown): typeof NO_ROOM {
  if (isDiskFull(error)) return NO_ROOM;
  throw error;
}

/** What is waited for, or nothing once it is ended: the end of the storage ends the request. */
async function orEnded<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T | null> {
  const { promise, resolve } = Promise.withResolvers<null>();
  const end = () => resolve(null);
  signal?.addEventListener('abort', end);
  // Who is not waited for any more is not heard.
  work.catch(() => {});
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal?.removeEventListener('abort', end);
  }
}

/**
 * What is settled, replaced or deleted while it is read looks damaged: then it is read once more, as the
 * only one that works on it.
 */
async function checkAlone(
  { store, catalog, locks }: Readonly<{ store: Store; catalog: Catalog; locks: Locks }>,
  ref: Ref,
  digest: string,
  signal?: AbortSignal,
): Promise<string[]> {
  const found = await checkTree(store, ref, digest, signal);
  if (found.length === 0 || signal?.aborted) return found;
  const unlock = await locks.lock(ref).catch((error: unknown) => {
    // Where nothing can be noted nothing is locked.
    if (error instanceof StorageError) return async () => {};
    throw error;
  });
  if (unlock === null) return [];
  try {
    const now = catalog.generations.find(ref.projectId, ref.version)?.digest ?? digest;
    return await checkTree(store, ref, now, signal);
  } finally {
    await unlock();
  }
}

/** What keeps one from being read keeps no other from it. */
async function checkTree(
  store: Store,
  ref: Ref,
  digest: string,
  signal?: AbortSignal,
): Promise<string[]> {
  try {
    return await store.trees.check(ref, digest, signal);
  } catch (error) {
    if (error instanceof StorageError && !error.retryable) return [error.message];
    if (signal?.aborted) return [];
    throw error;
  }
}
