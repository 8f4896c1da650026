import { setTimeout as sleep } from 'node:timers/promises';
import { isInCloud, type Ref, StorageError } from '../contract.ts';
import type { Storage } from '../storage/storage.ts';
import type { LeftOut } from '../store/left-out.ts';
import { Counts } from './counts.ts';
import { type Found, findAll } from './find.ts';

export type MigrateOptions = Readonly<{
  /** Absolute. */
  storePath: string;
  /** One project; `null`: all. */
  only: string | null;
  /** Owners by project, for those that have none. */
  owners: ReadonlyMap<string, string>;
  /** Whether to read back every archive from the cloud, and compare it. */
  verify: boolean;
  onProgress?: (progress: Progress) => void;
  /** Ends it in order: what is under way is finished, and the report is of what was done. */
  signal?: AbortSignal;
  /** How long the cloud may be away, in milliseconds. Default a minute. */
  patienceMs?: number;
}>;

/** How far it is: of `total` generations, so many are through this stage. */
export type Progress = Readonly<{
  stage: 'read' | 'upload' | 'verify';
  done: number;
  total: number;
}>;

/** What came of it. */
export type Report = Readonly<{
  /** Generations that were found. */
  found: number;
  /** Given hashes and an archive by this run. */
  migrated: number;
  /** That had them before. */
  known: number;
  /** In the cloud, their bytes proven; `null` while the cloud is off. */
  verified: number | null;
  /** Whether it was ended before all was done: then it goes on the next time. */
  stopped: boolean;
  /** That could not be migrated or uploaded. */
  failed: number;
  /** What is the matter with them, and what was left out of those that were migrated; the first of it. */
  problems: { path: string; reason: string }[];
}>;

/** Generations that are read at once. */
const AT_ONCE = 4;
const POLL_MS = 250;
/** How long the cloud may be away before nobody waits for it any more, in milliseconds. */
const PATIENCE_MS = 60_000;

/** What a migration would do, from names and manifests alone: nothing is opened or written. */
export function plan(storePath: string, only: string | null): Report {
  const counts = new Counts();
  let migrated = 0;
  let known = 0;
  for (const item of findAll(storePath, only)) {
    counts.found();
    if (item.kind === 'unfit') counts.fail(item.path, item.reason);
    else if (item.kind === 'ours') known++;
    else migrated++;
  }
  return { ...counts.report(), migrated, known, verified: null, stopped: false };
}

/**
 * Gives every generation that the Python system left hashes and an archive, and waits until all is
 * in the cloud, where it is on. May be repeated: what is done is passed over. Memory does not grow
 * with what is found.
 */
export async function migrate(storage: Storage, options: MigrateOptions): Promise<Report> {
  const { storePath, only, owners, verify, signal, onProgress = () => {} } = options;
  const counts = new Counts();
  let total = 0;
  for (const _ of findAll(storePath, only)) total++;
  if (only !== null && total === 0) {
    throw new StorageError('not_found', `Cannot find "${only}" in "${storePath}"`);
  }

  let [migrated, known, done] = [0, 0, 0];
  const walk = findAll(storePath, only);
  const lane = async () => {
    for (const item of walk) {
      if (signal?.aborted === true) return;
      counts.found();
      if (item.kind === 'unfit') counts.fail(item.path, item.reason);
      else {
        await counts.attempt(item.path, async () => {
          const owner = owners.get(item.ref.projectId);
          const leftOut = await adopt(storage, item);
          if (leftOut !== null) {
            migrated++;
            counts.leaveOut(item.path, leftOut);
          } else {
            known++;
            await oweLost(storage, item.ref);
          }
          if (owner !== undefined) await storage.setOwner(item.ref.projectId, owner);
        });
      }
      onProgress({ stage: 'read', done: ++done, total });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));

  const { cloud } = await storage.status();
  const isStopped = () => signal?.aborted === true;
  if (!cloud.enabled || isStopped()) {
    return { ...counts.report(), migrated, known, verified: null, stopped: isStopped() };
  }
  await waitForUploads(storage, options);
  const verified = await checkAll(storage, options, counts, total, verify);
  return { ...counts.report(), migrated, known, verified, stopped: isStopped() };
}

/** @returns what was left out; `null` where there was nothing to do */
async function adopt(storage: Storage, { kind, ref, path }: Found): Promise<LeftOut | null> {
  if (kind === 'archived') await storage.takeIn(ref, path);
  return storage.adopt(ref);
}

/** What was uploaded once, and the cloud has no more, is owed to it again. */
async function oweLost(storage: Storage, ref: Ref): Promise<void> {
  const { status } = await storage.summary(ref);
  if (!isInCloud(status) || !(await storage.status()).cloud.enabled) return;
  try {
    await storage.confirmInCloud(ref);
  } catch (error) {
    // The cloud is away: what becomes of that is said at the end.
    if (!(error instanceof StorageError) || !error.retryable) throw error;
  }
}

/**
 * Waits until nothing is owed any more but what is parked, or the cloud has been away for too long:
 * what was not uploaded by then is reported.
 */
async function waitForUploads(
  storage: Storage,
  { only, signal, patienceMs = PATIENCE_MS, onProgress = () => {} }: MigrateOptions,
): Promise<void> {
  let total = 0;
  let awaySince: number | null = null;
  for (;;) {
    const { outbox } = await storage.status();
    const owed = only === null ? outbox.owed : await countOwed(storage, only);
    total = Math.max(total, owed);
    onProgress({ stage: 'upload', done: total - owed, total });
    awaySince = outbox.paused ? (awaySince ?? performance.now()) : null;
    if (owed === 0 || signal?.aborted === true) return;
    if (awaySince !== null && performance.now() - awaySince >= patienceMs) return;
    await storage.drain(POLL_MS);
    await sleep(POLL_MS);
  }
}

/** How many generations of a project are on their way. */
async function countOwed(storage: Storage, projectId: string): Promise<number> {
  let owed = 0;
  let cursor: number | null = null;
  do {
    const page = await storage.list(projectId, cursor === null ? {} : { cursor });
    owed += page.items.filter(({ status }) => status === 'pending' || status === 'uploaded').length;
    cursor = page.nextCursor;
  } while (cursor !== null);
  return owed;
}

async function checkThere(storage: Storage, ref: Ref): Promise<void> {
  const problem = await storage.confirmInCloud(ref);
  if (problem !== null) throw new StorageError('corrupt', `It is not in the cloud: ${problem}`);
}

/** Counts what is verified, and says of the rest why it is not. */
async function checkAll(
  storage: Storage,
  { storePath, only, signal, onProgress = () => {} }: MigrateOptions,
  counts: Counts,
  total: number,
  readBack: boolean,
): Promise<number> {
  let [verified, done] = [0, 0];
  for (const item of findAll(storePath, only)) {
    if (signal?.aborted === true) break;
    if (item.kind !== 'unfit' && !counts.hasFailed(item.path)) {
      await counts.attempt(item.path, async () => {
        const { status, failure } = await storage.summary(item.ref);
        if (status !== 'verified') {
          throw new StorageError('unavailable', failure ?? `It is ${status}, not verified`);
        }
        // Once it was: it is asked for now.
        if (readBack) await storage.verifyInCloud(item.ref);
        else await checkThere(storage, item.ref);
        verified++;
      });
    }
    if (readBack) onProgress({ stage: 'verify', done: ++done, total });
  }
  return verified;
}
