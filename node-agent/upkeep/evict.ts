import { statfs } from 'node:fs/promises';

/** What the file system is to have left, of its bytes and of its inodes. */
const LEFT = 0.1;

/** Whoever was given a path so recently may still be reading it, in milliseconds. */
const IN_USE_MS = 10 * 60_000;

/** What is kept of what can be had again. */
export type KeepLimits = Readonly<{ maxAgeMs: number; maxBytes: number }>;

/** What can be had again. */
export type Evictable = Readonly<{
  bytes: number;
  /** When it was asked for last, in milliseconds. */
  usedAt: number;
  /** @returns whether it went: not where it was asked for since */
  evict(): Promise<boolean>;
}>;

/** What went. */
export type Evicted = Readonly<{ evicted: number; bytes: number }>;

/**
 * Evicts the least recently used first: those that are too old or too much, and as long as the file system
 * is nearly full any. Never one that was handed out in the last ten minutes.
 *
 * @param list what there is; asked only where something may have to go
 * @param root on the file system that they lie on
 * @param limits `null`: only where the file system is nearly full
 */
export async function evictLeastUsed(
  list: () => Promise<Evictable[]>,
  { root, limits, now }: { root: string; limits: KeepLimits | null; now: () => number },
): Promise<Evicted> {
  const result = { evicted: 0, bytes: 0 };
  if (limits === null && !(await isNearlyFull(root))) return result;
  const all = (await list()).sort((a, b) => a.usedAt - b.usedAt);
  let total = all.reduce((sum, { bytes }) => sum + bytes, 0);
  for (const { bytes, usedAt, evict } of all) {
    const idle = now() - usedAt;
    if (idle >= 0 && idle < IN_USE_MS) continue;
    const isTooMuch = limits !== null && (idle >= limits.maxAgeMs || total > limits.maxBytes);
    // Of those that are younger none is too old.
    if (!isTooMuch && !(await isNearlyFull(root))) break;
    if (!(await evict())) continue;
    total -= bytes;
    result.evicted++;
    result.bytes += bytes;
  }
  return result;
}

/** Whether a file system has under a tenth of its bytes or inodes left. Not where nothing is at `root` yet. */
export async function isNearlyFull(root: string): Promise<boolean> {
  const found = await statfs(root).catch(() => null);
  if (found === null) return false;
  const { bavail, blocks, ffree, files } = found;
  // File systems that make inodes as they are needed say 0.
  return bavail < blocks * LEFT || (files > 0 && ffree < files * LEFT);
}
