/** A tar is read exactly, or refused: never a byte otherwise than it was packed. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readTarEntries } from '../../functions/_shared/contract/tar.ts';
import { makeTar, paxPath, type TarEntry } from '../support/tar.ts';
import { tempFolder } from '../support/temp.ts';

async function read(tar: Uint8Array, cut = tar.length) {
  const pieces = async function* () {
    for (let at = 0; at < tar.length; at += cut) yield tar.subarray(at, at + cut);
  };
  const found: [name: string, type: string, content: string, linkName: string][] = [];
  for await (const { header, body } of readTarEntries(pieces())) {
    const content: Buffer[] = [];
    for await (const piece of body) content.push(Buffer.from(piece));
    found.push([header.name, header.type, Buffer.concat(content).toString(), header.linkName]);
  }
  return found;
}

const pax = (...records: [string, string][]): TarEntry => {
  const content = records
    .map(([key, value]) => {
      const rest = ` ${key}=${value}\n`;
      let length = Buffer.byteLength(rest) + 1;
      while (String(length).length + Buffer.byteLength(rest) !== length) length++;
      return `${length}${rest}`;
    })
    .join('');
  return { name: 'PaxHeader', type: 'x', content };
};
const file = (name: string, content = 'x'): TarEntry => ({ name, content });

test('files, folders and links of every style are told, wherever the bytes are cut', async () => {
  const long = `${'d'.repeat(120)}/${'n'.repeat(120)}`;
  const tar = makeTar([
    { name: 'folder/', type: '5' },
    file('a', 'content'),
    { name: 'old', content: 'x', type: '\0' },
    { name: 'old folder/', type: '0' },
    { name: 'link', type: '2', linkName: 'a' },
    { name: 'hard', type: '1', linkName: 'a' },
    paxPath(long),
    file('short', 'y'.repeat(1000)),
    { name: '././@LongLink', type: 'L', content: `${long}2\0` },
    file('short'),
    { name: '././@LongLink', type: 'K', content: `${long}3\0` },
    { name: 'link2', type: '2', linkName: 'cut off' },
    { name: 'g', type: 'g', content: '30 comment=of a git commit id\n' },
    file('\ufeffbom'),
  ]);
  const expected = [
    ['folder/', 'folder', '', ''],
    ['a', 'file', 'content', ''],
    ['old', 'file', 'x', ''],
    ['old folder/', 'folder', '', ''],
    ['link', 'symlink', '', 'a'],
    ['hard', 'hardlink', '', 'a'],
    [long, 'file', 'y'.repeat(1000), ''],
    [`${long}2`, 'file', 'x', ''],
    ['link2', 'symlink', '', `${long}3`],
    ['\ufeffbom', 'file', 'x', ''],
  ];
  for (const cut of [1, 7, 511, 512, 513, 4096, tar.length]) {
    expect(await read(tar, cut)).toEqual(expected);
  }
});

test.each(['3', '4', '6', '7', 'S', 'V', 'Z', 'D', 'M', 'N', 'X', 'a', ' '])(
  'an entry of type %j is refused, naming it and the type',
  async (type) => {
    await expect(
      read(makeTar([file('good'), { name: 'bad', type, content: 'x' }])),
    ).rejects.toMatchObject({
      code: 'invalid_input',
      message: expect.stringMatching(new RegExp(`"bad".*type ${JSON.stringify(type)}`)),
    });
  },
);

describe('what would not come out as it went in', () => {
  test.each<[string, TarEntry[], string]>([
    [
      'a sparse file in the words of pax',
      [
        pax(
          ['GNU.sparse.major', '1'],
          ['GNU.sparse.minor', '0'],
          ['GNU.sparse.name', 'holes'],
          ['GNU.sparse.realsize', '9'],
        ),
        file('GNUSparseFile.0/holes'),
      ],
      '"holes"',
    ],
    ['the same in its older words', [pax(['GNU.sparse.size', '9']), file('holes')], '"holes"'],
    ['a folder with content', [file('folder/')], '"folder/"'],
  ])('%s is refused, naming it', async (_, entries, named) => {
    await expect(read(makeTar(entries))).rejects.toMatchObject({
      code: 'invalid_input',
      message: expect.stringContaining(named),
    });
  });

  test('a sparse file of GNU tar is refused', async () => {
    const folder = await tempFolder();
    writeFileSync(join(folder, 'holes'), 'begin');
    truncateSync(join(folder, 'holes'), 10_000_000);
    for (const format of ['gnu', 'pax']) {
      const tar = execFileSync('tar', ['-C', folder, `--format=${format}`, '-cSf', '-', 'holes']);
      await expect(read(tar), format).rejects.toMatchObject({
        code: 'invalid_input',
        message: expect.stringMatching(/"(\.\/)?holes".*sparse/),
      });
    }
  });
});

test.each<[string, (tar: Buffer) => Buffer]>([
  ['is cut in a header', (tar) => tar.subarray(0, 300)],
  ['is cut in a content', (tar) => tar.subarray(0, 600)],
  ['lacks its end', (tar) => tar.subarray(0, 1024)],
  ['has half of its end', (tar) => tar.subarray(0, tar.length - 512)],
  ['has something after its end', (tar) => Buffer.concat([tar, Buffer.from('x')])],
  ['never ends', (tar) => Buffer.concat([tar, Buffer.alloc(17 * 1024 * 1024)])],
  ['has an empty header in the middle', (tar) => Buffer.concat([Buffer.alloc(512), tar])],
  ['has another checksum', (tar) => Buffer.concat([Buffer.from('y'), tar.subarray(1)])],
  ['says more of nothing', () => makeTar([paxPath('a')])],
  [
    'has a pax header that is none',
    () => makeTar([{ name: 'p', type: 'x', content: 'nothing' }, file('a')]),
  ],
  ['has a size in pax that is none', () => makeTar([pax(['size', '-1']), file('a')])],
  ['names all entries alike', () => makeTar([{ ...paxPath('a'), type: 'g' }, file('b')])],
  ['has more headers than make sense', () => makeTar([...Array(20).fill(paxPath('a')), file('b')])],
])('a tar that %s is corrupt', async (_, spoil) => {
  await expect(read(spoil(makeTar([file('a')])))).rejects.toMatchObject({ code: 'corrupt' });
});

test('400 000 records are read, and one more is too large, however small the tar', async () => {
  const records = (count: number) => ({ name: 'p', type: 'x', content: '5 a=\n'.repeat(count) });
  const entries = Array.from({ length: 8 }, (_, i) => [records(50_000), file(`f${i}`)]).flat();
  expect((await read(makeTar(entries))).length).toBe(8);
  const tooMany = makeTar([...entries, records(1), file('g')]);
  await expect(read(tooMany)).rejects.toMatchObject({ code: 'too_large' });
});

test('what GNU tar packs in each of its formats is read as it was', async () => {
  const folder = await tempFolder();
  const name = `${'d'.repeat(90)}/${'e'.repeat(90)}/grüße`;
  mkdirSync(join(folder, 'd'.repeat(90), 'e'.repeat(90)), { recursive: true });
  writeFileSync(join(folder, name), 'hello');
  for (const format of ['gnu', 'pax', 'ustar', 'posix']) {
    const tar = execFileSync('tar', ['-C', folder, `--format=${format}`, '-cf', '-', name]);
    expect(await read(tar), format).toEqual([[name, 'file', 'hello', '']]);
  }
});
