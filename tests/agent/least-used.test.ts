/** What goes first of what can be had again: by its last use, its age, and what is left of the disk. */
import { describe, expect, test } from 'vitest';
import { type Evictable, evictLeastUsed, type KeepLimits } from '../../node-agent/upkeep/evict.ts';
import { canMount, fill, fillInodes, mountFileSystem } from '../support/mount.ts';

const MINUTE = 60_000;
const NOW = 1_000 * MINUTE;
/** Where no file system is, none is nearly full. */
const NOWHERE = '/nowhere/at/all';
const KEEP_ALL = { maxAgeMs: Number.MAX_SAFE_INTEGER, maxBytes: Number.MAX_SAFE_INTEGER };

type Item = { name: string; bytes: number; idle: number; goes?: boolean };

async function evict(items: Item[], limits: KeepLimits | null, root = NOWHERE) {
  const asked: string[] = [];
  let listed = 0;
  const list = async (): Promise<Evictable[]> => {
    listed++;
    return items.map(({ name, bytes, idle, goes = true }) => ({
      bytes,
      usedAt: NOW - idle,
      evict: async () => {
        asked.push(name);
        return goes;
      },
    }));
  };
  const result = await evictLeastUsed(list, { root, limits, now: () => NOW });
  return { ...result, asked, listed };
}

const item = (name: string, idleMinutes: number, more: Partial<Item> = {}): Item => ({
  ...{ name, bytes: 10, idle: idleMinutes * MINUTE },
  ...more,
});

test('what is as old as is said goes, and nothing that is younger', async () => {
  const items = [item('young', 59.999), item('old', 60), item('older', 61)];
  expect(await evict(items, { ...KEEP_ALL, maxAgeMs: 60 * MINUTE })).toMatchObject({
    ...{ asked: ['older', 'old'], evicted: 2, bytes: 20 },
  });
});

test('of too much the least recently used goes, until it is no more than is said', async () => {
  const items = [item('b', 20), item('c', 15), item('a', 30), item('d', 12)];
  const keep = (maxBytes: number) => evict(items, { ...KEEP_ALL, maxBytes });
  expect((await keep(40)).asked).toEqual([]);
  expect((await keep(39)).asked).toEqual(['a']);
  expect((await keep(20)).asked).toEqual(['a', 'b']);
  expect((await keep(19)).asked).toEqual(['a', 'b', 'c']);
  expect(await keep(0)).toMatchObject({ evicted: 4, bytes: 40 });
});

test('what does not go is not counted, and the next one goes for it', async () => {
  const items = [item('a', 30, { goes: false }), item('b', 20), item('c', 15)];
  const result = await evict(items, { ...KEEP_ALL, maxBytes: 20 });
  expect(result).toMatchObject({ asked: ['a', 'b'], evicted: 1, bytes: 10 });
});

test('what was used in the last ten minutes stays, whatever the settings say', async () => {
  const items = [item('now', 0), item('used', 9.999), item('idle', 10)];
  const nothing = { maxAgeMs: 0, maxBytes: 0 };
  expect((await evict(items, nothing)).asked).toEqual(['idle']);
});

test('what was used in the future, by a clock that was wrong, is not in use', async () => {
  expect((await evict([item('wrong', -5)], { ...KEEP_ALL, maxBytes: 0 })).asked).toEqual(['wrong']);
  expect((await evict([item('wrong', -5)], { ...KEEP_ALL, maxAgeMs: 1 })).asked).toEqual([]);
});

test('without limits nothing is even looked at, while there is room', async () => {
  expect(await evict([item('a', 100)], null)).toMatchObject({ listed: 0, evicted: 0, bytes: 0 });
});

describe.skipIf(!canMount)('on a file system that is nearly full', () => {
  const items = [item('b', 20), item('a', 30), item('used', 5)];

  test.each([[null], [KEEP_ALL]])('all goes that is not in use, with limits %j', async (limits) => {
    const at = mountFileSystem('4m');
    await fill(at);
    expect((await evict(items, limits, at)).asked).toEqual(['a', 'b']);
  });

  test('the same where its inodes are nearly all taken', async () => {
    const at = mountFileSystem('4m', { inodes: 100 });
    await fillInodes(at, 9);
    expect((await evict(items, null, at)).asked).toEqual(['a', 'b']);
  });

  test('one with a tenth of its inodes left is not', async () => {
    const at = mountFileSystem('4m', { inodes: 100 });
    await fillInodes(at, 10);
    expect((await evict(items, null, at)).listed).toBe(0);
  });

  test('nothing more goes once there is room', async () => {
    const at = mountFileSystem('4m');
    const makeRoom = await fill(at);
    const asked: string[] = [];
    const list = async () =>
      items.map(({ name, bytes, idle }) => ({
        bytes,
        usedAt: NOW - idle,
        evict: async () => {
          asked.push(name);
          makeRoom();
          return true;
        },
      }));
    await evictLeastUsed(list, { root: at, limits: null, now: () => NOW });
    expect(asked).toEqual(['a']);
  });
});
