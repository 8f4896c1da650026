/** A tar is read exactly, or refused: never a byte otherwise than it was packed. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
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

const record = (content: string) => makeTar([{ name: 'p', type: 'x', content }, file('a')]);

test.each([
  ['5 a=\n', 'an empty value'],
  ['6 a=b\n', 'one record'],
  ['6 a=b\n6 c=d\n', 'two records'],
  ['8 a=b=c\n', 'a value with the sign in it'],
  ['8 a=b\nc\n', 'a value of two lines'],
  ['012 a=b\n', null],
  ['0 a=b\n', null],
  ['-6 a=b\n', null],
  ['6x a=b\n', null],
  ['x6 a=b\n', null],
  ['7 a=b\n', null],
  ['5 a=b\n', null],
  ['6 a=bx', null],
  ['4 =\n', null],
  ['5 =a\n', null],
  ['6 abc\n', null],
  ['6 abc\n6 a=b\n', null],
  ['7 a=b\n8 c=de\n', null],
  ['a=b\n', null],
  ['6', null],
  [' a=b\n', null],
  [`${'6'.repeat(30)} a=b\n`, null],
])('a pax header %j: %s', async (content, what) => {
  const reading = read(record(content));
  if (what === null) await expect(reading).rejects.toMatchObject({ code: 'corrupt' });
  else expect(await reading).toEqual([['a', 'file', 'x', '']]);
});

test('what pax says of name, target and size is so, whatever the header says', async () => {
  const long = 't'.repeat(150);
  const tar = makeTar([
    pax(['path', 'n'], ['linkpath', long], ['mtime', '1.5']),
    { name: 'short', type: '2', linkName: 'short' },
    pax(['size', '5']),
    { ...file('sized', 'hello'), size: 0 },
    pax(['linkpath', 'nothing of a file']),
    file('plain'),
  ]);
  expect(await read(tar)).toEqual([
    ['n', 'symlink', '', long],
    ['sized', 'file', 'hello', ''],
    ['plain', 'file', 'x', ''],
  ]);
});

test.each(['', '-1', '1.5', '1e3', ' 1', '1 ', 'x1', '1x', '1'.repeat(16)])(
  'a size %j in pax is none',
  async (size) => {
    await expect(read(makeTar([pax(['size', size]), file('a')]))).rejects.toMatchObject({
      code: 'corrupt',
    });
  },
);

test.each(['path', 'linkpath', 'size'])('a global header may not set %s', async (key) => {
  const tar = makeTar([{ ...pax([key, '1']), type: 'g' }, file('a')]);
  await expect(read(tar)).rejects.toMatchObject({ code: 'corrupt' });
});

test.each([
  [
    [
      ['GNU.sparse.name', 'holes'],
      ['path', 'x/GNUSparseFile.0/holes'],
    ],
  ],
  [
    [
      ['path', 'x/GNUSparseFile.0/holes'],
      ['GNU.sparse.name', 'holes'],
    ],
  ],
  [
    [
      ['GNU.sparse.major', '1'],
      ['path', 'holes'],
    ],
  ],
] as [string, string][][][])('a sparse file is named as it is called, %j', async (records) => {
  await expect(read(makeTar([pax(...records), file('a')]))).rejects.toMatchObject({
    message: expect.stringMatching(/"holes".*sparse/),
  });
});

test('eight headers may stand before an entry, each of 256 KiB, and no more', async () => {
  const most = { name: 'p', type: 'L', content: `n${'\0'.repeat(256 * 1024 - 1)}` };
  expect(await read(makeTar([...Array(8).fill(most), file('a')]))).toEqual([
    ['n', 'file', 'x', ''],
  ]);
  const nine = makeTar([...Array(9).fill(most), file('a')]);
  const larger = makeTar([{ ...most, content: `${most.content}\0` }, file('a')]);
  for (const tar of [nine, larger]) {
    await expect(read(tar)).rejects.toMatchObject({ code: 'corrupt' });
  }
});

test('64 MiB of headers are read, and a byte more is too large', async () => {
  const most = { name: 'p', type: 'L', content: Buffer.alloc(256 * 1024) };
  const entries = Array.from({ length: 32 }, () => [...Array(8).fill(most), file('a')]).flat();
  expect(await read(makeTar(entries), 1 << 20)).toHaveLength(32);
  const more = makeTar([...entries, { ...most, content: '\0' }, file('a')]);
  await expect(read(more, 1 << 20)).rejects.toMatchObject({ code: 'too_large' });
});

/** A header field of numbers, as bytes. */
const field = (at: number, bytes: number[] | string) => (header: Buffer) => {
  Buffer.from(bytes as string, 'latin1').copy(header, at);
};

test('numbers are octal, with blanks around them, or of GNU’s bytes', async () => {
  const size5 = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
  const large = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2];
  const tar = makeTar([
    { ...file('blanks', 'hello'), change: field(124, '         5 \0') },
    { ...file('bytes', 'hello'), change: field(124, size5) },
    { ...file('large', 'y'.repeat(258)), change: field(124, large) },
    { ...file('nothing', ''), change: field(124, '\0'.repeat(12)) },
  ]);
  const found = await read(tar);
  expect(found.map(([name, , content]) => [name, content.length])).toEqual([
    ['blanks', 5],
    ['bytes', 5],
    ['large', 258],
    ['nothing', 0],
  ]);
});

test.each<[string, number[] | string]>([
  ['digits that are not octal', '00000000008\0'],
  ['letters', 'abc\0'],
  ['letters behind digits', '1x\0'],
  ['letters before digits', 'x1\0'],
  ['a sign', '-1\0'],
  ['more than a number can hold', [0x80, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0]],
  ['less than nothing', Array(12).fill(0xff)],
])('a size of %s is corrupt', async (_, bytes) => {
  const tar = makeTar([{ ...file('a'), change: field(124, bytes) }]);
  await expect(read(tar)).rejects.toMatchObject({ code: 'corrupt' });
});

test('a name is that of ustar, with its prefix, or of the older forms, without', async () => {
  const prefix = field(345, 'some/where');
  const old = (header: Buffer) => {
    prefix(header);
    header.write('ustar  \0', 257, 'latin1');
  };
  const tar = makeTar([
    { ...file('a'), change: prefix },
    { ...file('a'), change: old },
    { ...file('n'.repeat(100)), change: prefix },
  ]);
  const names = (await read(tar)).map(([name]) => name);
  expect(names).toEqual(['some/where/a', 'a', `some/where/${'n'.repeat(100)}`]);
});

test('a mode is its permission bits', async () => {
  const modes: number[] = [];
  const tar = makeTar([
    { ...file('a'), change: field(100, '0104755\0') },
    { ...file('b'), change: field(100, '0000600\0') },
  ]);
  for await (const { header } of readTarEntries(Readable.from([tar]))) {
    modes.push(header.mode);
  }
  expect(modes).toEqual([0o755, 0o600]);
});

test('zeros may follow the end, 16 MiB of them', async () => {
  const end = (zeros: number) => Buffer.concat([makeTar([file('a')]), Buffer.alloc(zeros)]);
  expect(await read(end(16 * 1024 * 1024), 1 << 20)).toHaveLength(1);
  await expect(read(end(16 * 1024 * 1024 + 1), 1 << 20)).rejects.toMatchObject({ code: 'corrupt' });
});

test('what it reads from is closed, however it ends, and nothing is read on', async () => {
  let closed = 0;
  let asked = 0;
  const pieces = async function* (tar: Buffer) {
    try {
      for (let at = 0; at < tar.length; at += 512) {
        asked++;
        yield tar.subarray(at, at + 512);
      }
    } finally {
      closed++;
    }
  };
  for await (const _ of readTarEntries(pieces(makeTar([file('a'), file('b')])))) break;
  expect([closed, asked]).toEqual([1, 1]);
  const bad = makeTar([{ name: 'bad', type: '3' }, file('b')]);
  await expect(readTarEntries(pieces(bad)).next()).rejects.toThrow('"bad"');
  expect(closed).toBe(2);
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
