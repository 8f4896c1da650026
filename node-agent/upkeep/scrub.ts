import type { Cache } from '../cache/cache.ts';
import type { Cached } from '../cache/entries.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { ScrubState } from '../catalog/meta.ts';
import { StorageError } from '../contract.ts';
import type { Tell } from '../events/events.ts';
import type { Verified, VerifyOptions } from './verify.ts';

const DAY_MS = 86_400_000;
/** How long after it is opened the first part is read, and how often one is, in milliseconds. */
export const SCRUB_EVERY_MS = 3_600_000;

type Parts = Readonly<{
  catalog: Catalog;
  cache: Cache;
  /** Reads generations, mends what is damaged, and tells of it. */
  verify: (options: VerifyOptions) => AsyncIterable<Verified>;
  /** In how many days everything is read once; 0: nothing is. */
  scrubDays: number;
  isCloudOn: boolean;
  now: () => number;
  onEvent: Tell;
}>;

/** The cloud cannot be asked, or refuses the key. */
const CLOUD_AWAY: ReadonlySet<string> = new Set([
  'unavailable',
  'rate_limited',
  'unauthenticated',
  'forbidden',
]);

/** What a part came to. */
export type ScrubReport = Readonly<{ checked: number; damaged: number }>;

/**
 * Reads the part of store, cache and cloud whose turn it is, every byte compared, and mends what it finds from the
 * other good copy. A process that ends in the middle leaves the rest to the next one; one that was off reads a day's
 * part at most.
 *
 * @param signal ends it, in the middle of a generation too
 */
export async function scrub(parts: Parts, signal: AbortSignal): Promise<ScrubReport> {
  const { catalog, scrubDays, now } = parts;
  if (scrubDays === 0) return { checked: 0, damaged: 0 };
  const state = catalog.meta.scrub ?? newState(now());
  // A clock that was put back counts as no time.
  const elapsedMs = Math.min(DAY_MS, Math.max(0, now() - state.readAt));
  const share = elapsedMs / (scrubDays * DAY_MS);
  const note = (changes: Partial<ScrubState>) =>
    catalog.write(() => {
      const current = catalog.meta.scrub ?? state;
      catalog.meta.setScrub({ ...current, ...changes });
    });
  const stored = Object.values(catalog.generations.countByStatus()).reduce((a, b) => a + b, 0);
  const due = state.due + stored * share;
  const copies = [...parts.cache.entries.list()];
  const copiesDue = state.copiesDue + copies.length * share;
  await note({ readAt: now(), due, copiesDue });
  // First, as they were just listed.
  const inCache = await scrubCopies(parts, copies, { ...state, copiesDue }, note, signal);
  const found = await scrubGenerations(parts, { ...state, due }, note, signal);
  return { checked: found.checked + inCache.checked, damaged: found.damaged + inCache.damaged };
}

function newState(now: number): ScrubState {
  return {
    readAt: now - SCRUB_EVERY_MS,
    ...{ due: 0, after: null, copiesDue: 0, copiesAfter: '' },
    ...{ checked: 0, damaged: 0, beganAt: new Date(now).toISOString(), endedAt: null },
  };
}

type Note = (changes: Partial<ScrubState>) => Promise<unknown>;

async function scrubGenerations(
  parts: Parts,
  state: ScrubState,
  note: Note,
  signal: AbortSignal,
): Promise<ScrubReport> {
  let { after, due, checked, damaged } = state;
  const report = () => ({ checked: checked - state.checked, damaged: damaged - state.damaged });
  for (let isCloudAway = false; due >= 1; ) {
    const options = { repair: true, cloud: !isCloudAway, signal };
    const from = after === null ? {} : { after };
    try {
      for await (const found of parts.verify({ ...options, ...from })) {
        const { projectId, version, problems, repaired } = found;
        // What only the cloud could mend is read again with the next part.
        if (isCloudAway && problems.length > 0 && !repaired) return report();
        after = { projectId, version };
        checked++;
        due--;
        if (problems.length > 0) damaged++;
        await note({ after, due, checked, damaged });
        if (due < 1) return report();
      }
      if (signal.aborted) return report();
      // All was read: it begins anew with the next part.
      const at = new Date(parts.now()).toISOString();
      await note({ after: null, due: 0, checked: 0, damaged: 0, beganAt: at, endedAt: at });
      return report();
    } catch (error) {
      const isOfCloud = error instanceof StorageError && CLOUD_AWAY.has(error.code);
      if (!isOfCloud || isCloudAway) throw error;
      // What lies here is read meanwhile.
      isCloudAway = true;
    }
  }
  return report();
}

/** Copies whose archive is not what it was go; a tree that is not is laid out again. */
async function scrubCopies(
  { cache, isCloudOn, onEvent }: Parts,
  copies: readonly Cached[],
  { copiesDue, copiesAfter }: ScrubState,
  note: Note,
  signal: AbortSignal,
): Promise<ScrubReport> {
  let [due, checked, damaged] = [copiesDue, 0, 0];
  if (due < 1) return { checked, damaged };
  // By their paths, so that each has its turn whatever goes and comes.
  const left = copies.filter(({ path }) => path > copiesAfter);
  for (const { ref, path, entry } of left.sort((a, b) => (a.path < b.path ? -1 : 1))) {
    if (due < 1 || signal.aborted) return { checked, damaged };
    due--;
    checked++;
    const problems = entry === null ? [] : await cache.check(entry, signal);
    if (signal.aborted) return { checked, damaged };
    if (entry !== null && problems.length > 0) {
      damaged++;
      // Without its copy it is fetched again.
      const mended = (await cache.dropDamaged(entry)) || isCloudOn;
      const reason = problems.join('; ');
      onEvent({ kind: 'generation.damaged', ...ref, where: 'cache', reason, mended });
    }
    await note({ copiesDue: due, copiesAfter: path });
  }
  await note({ copiesDue: 0, copiesAfter: '' });
  return { checked, damaged };
}
