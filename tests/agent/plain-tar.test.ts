/** The quick reader of tars takes those that we write, and leaves every other to the one for all. */
import { expect, test } from 'vitest';
import { listPlainTar } from '../../node-agent/archive/plain-tar.ts';
import { readTar } from '../../node-agent/archive/read-tar.ts';
import { tarEnd, tarHeader, tarPadding } from '../../node-agent/archive/tar.ts';
import { makeTar } from '../support/tar.ts';

const LONG = `${'folder/'.repeat(30)}file`;
const FILES = [
  { path: 'manifest.json', content: '{}', mode: 0o644 },
  { path: 'source/empty', content: '', mode: 0o600 },
  { path: 'source/bin/run', content: 'x'.repeat(512), mode: 0o755 },
  { path: `source/${'p'.repeat(120)}/${'n'.repeat(99)}`, content: 'in two parts', mode: 0o644 },
  { path: `source/${LONG}`, content: 'y'.repeat(513), mode: 0o644 },
  { path: 'source/ünï/文件😀\nx=1', content: 'ä', mode: 0o644 },
].map(({ content, ...file }) => ({ ...file, content: Buffer.from(content) }));

function write(files: typeof FILES): Buffer {
  const parts = files.flatMap(({ path, mode, content }) => [
    tarHeader({ path, mode, size: content.length }),
    content,
    tarPadding(content.length),
  ]);
  return Buffer.concat([...parts, tarEnd()]);
}

async function readBySlowOne(tar: Buffer) {
  const files: typeof FILES = [];
  const pieces = (async function* () {
    yield tar;
  })();
  for await (const { header, body } of readTar(pieces)) {
    const content: Uint8Array[] = [];
    for await (const piece of body) content.push(Buffer.from(piece));
    files.push({ path: header.name, mode: header.mode!, content: Buffer.concat(content) });
  }
  return files;
}

function readByQuickOne(tar: Buffer): typeof FILES | null {
  const listed = listPlainTar(tar);
  if (listed === null) return null;
  return listed.map(({ header: { name, size, mode }, body }) => {
    const content = Buffer.concat(body);
    expect(size).toBe(content.length);
    return { path: name, mode: mode!, content };
  });
}

test('what we write is read by both, alike', async () => {
  const tar = write(FILES);
  expect(readByQuickOne(tar)).toEqual(FILES);
  expect(await readBySlowOne(tar)).toEqual(FILES);
});

test('with any byte changed it is left to the other, or read by both alike', async () => {
  const tar = write(FILES);
  for (let at = 0; at < tar.length; at++) {
    const changed = Buffer.from(tar);
    changed[at]! ^= 1;
    const files = readByQuickOne(changed);
    if (files === null) continue;
    expect(await readBySlowOne(changed), `byte ${at}`).toEqual(files);
  }
});

test('cut off anywhere, or with anything behind it, it is left to the other', () => {
  const tar = write(FILES);
  for (let length = 0; length < tar.length; length++) {
    expect(listPlainTar(tar.subarray(0, length)), `${length} bytes`).toBeNull();
  }
  expect(listPlainTar(Buffer.concat([tar, Buffer.alloc(512)]))).toBeNull();
});

test.each<[string, Buffer]>([
  ['another program', makeTar([{ name: 'source/a', content: 'a' }])],
  ['nobody', Buffer.alloc(2048, 'no tar')],
  // Each says of the one after it where that lies: whoever followed them would run out of stack.
  [
    'somebody who means harm',
    Buffer.concat(
      Array.from({ length: 30_000 }, () =>
        tarHeader({ path: 'é', mode: 0, size: 0 }).subarray(0, 1024),
      ),
    ),
  ],
])('a tar of %s is left to the other', (_, tar) => {
  expect(listPlainTar(tar)).toBeNull();
});
