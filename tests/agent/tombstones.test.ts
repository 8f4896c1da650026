/** The marks of what was deleted: one file a project, which only grows. */
import { appendFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Layout } from '../../node-agent/store/layout.ts';
import { Tombstones } from '../../node-agent/store/tombstones.ts';
import { openTestStorage } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';

const AT = '2026-11-28T00:00:00.000Z';
const refTo = (version: number) => ({ projectId: 'p', version, generationId: `g${version}` });

/** `other` is what another process sees. */
async function make() {
  const layout = new Layout(await tempFolder());
  const [tombstones, other] = [new Tombstones(layout), new Tombstones(layout)];
  await tombstones.put(refTo(1), { deleted_at: AT, digests: ['d1'] });
  return { tombstones, other, file: layout.tombstones('p') };
}

const versions = (tombstones: Tombstones) => tombstones.list('p').map(({ version }) => version);

test('a line a deletion, in their order, of which the last one of a generation counts', async () => {
  const { tombstones, other, file } = await make();
  await tombstones.put(refTo(2), { deleted_at: AT, moved_to: 5 });
  await tombstones.put(refTo(2), { deleted_at: 'later' });
  expect(other.find(refTo(2))).toMatchObject({ deleted_at: AT, moved_to: 5 });
  await tombstones.drop(refTo(1), AT);
  await tombstones.drop(refTo(9), AT);
  expect([versions(tombstones), versions(other)]).toEqual([[2], [2]]);
  await other.put(refTo(1), { deleted_at: AT });
  expect([versions(tombstones), tombstones.digestsOf(refTo(1))]).toEqual([[2, 1], []]);
  const lines = readFileSync(file, 'utf8').split('\n').filter(Boolean);
  expect(lines.map((line) => JSON.parse(line).version)).toEqual([1, 2, 1, 1]);
});

test('a line that a crash cut short is none, and spoils none that comes after it', async () => {
  const { tombstones, file } = await make();
  const whole = readFileSync(file, 'utf8');
  const line = whole.replaceAll('1', '2');
  for (let length = 0; length < line.length; length++) {
    writeFileSync(file, whole + line.slice(0, length));
    const anew = new Tombstones(new Layout(join(file, '../../..')));
    expect(versions(anew), String(length)).toEqual([1]);
    await anew.put(refTo(3), { deleted_at: AT });
    expect(versions(anew), String(length)).toEqual([1, 3]);
  }
  await tombstones.put(refTo(4), { deleted_at: AT });
  expect(versions(tombstones)).toEqual([1, 3, 4]);
});

test('a line of which another process has written a half so far is read once it is whole', async () => {
  const { tombstones, file } = await make();
  const line = readFileSync(file, 'utf8').replaceAll('1', '2');
  appendFileSync(file, line.slice(0, 30));
  expect(versions(tombstones)).toEqual([1]);
  appendFileSync(file, line.slice(30));
  expect(versions(tombstones)).toEqual([1, 2]);
});

test('another file in its place, as of a backup, is read anew', async () => {
  const { tombstones, file } = await make();
  const [whole, longer] = [readFileSync(file, 'utf8'), `\n${'x'.repeat(500)}`];
  for (const [text, seen] of [
    [whole.replaceAll('1', '7') + longer, [7]],
    [whole.replaceAll('1', '8'), [8]],
  ] as const) {
    expect(versions(tombstones)).toHaveLength(1);
    rmSync(file);
    writeFileSync(file, text);
    expect(versions(tombstones)).toEqual(seen);
  }
  // The same file, cut and written anew.
  writeFileSync(file, '');
  expect(versions(tombstones)).toEqual([]);
  appendFileSync(file, whole);
  expect(versions(tombstones)).toEqual([1]);
});

test.each([
  ['no JSON', 'x'],
  ['nothing', 'null'],
  ['a number', '7'],
  ['a list', '[]'],
  ['a version that is none', '{"version":0,"generation_id":"g2","deleted_at":"2026-01-01"}'],
  ['an id that is none', '{"version":2,"generation_id":"../g2","deleted_at":"2026-01-01"}'],
])('a damaged line is passed over: %s', async (_, line) => {
  const { tombstones, other, file } = await make();
  appendFileSync(file, `\n${line}`);
  expect(versions(tombstones)).toEqual([1]);
  await tombstones.put(refTo(3), { deleted_at: AT });
  expect([versions(tombstones), versions(other)]).toEqual([
    [1, 3],
    [1, 3],
  ]);
});

test('what was deleted stays deleted where the catalog is lost', async () => {
  const storePath = await tempFolder();
  const first = await openTestStorage({ storePath });
  for (const version of [1, 2]) await first.save({ ...refTo(version), files: { a: 'a' } });
  await first.delete(refTo(1));
  await first.close();
  rmSync(join(storePath, '.codebegen-storage'), { recursive: true });
  const second = await openTestStorage({ storePath });
  expect((await second.list('p')).items.map(({ version }) => version)).toEqual([2]);
  await expect(second.save({ ...refTo(1), files: { a: 'a' } })).rejects.toThrow('it was deleted');
});
