/** Zips that are saved: as programs make them, and as somebody made them to do harm. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Limits } from '../../node-agent/contract.ts';
import { startDaemon } from '../support/daemon.ts';
import { runCli } from '../support/run.ts';
import { openTestStorage } from '../support/storage.ts';
import { makeTar } from '../support/tar.ts';
import { tempFolder, writeFiles } from '../support/temp.ts';
import { listTree, readTree } from '../support/tree.ts';
import { makeZip, unicodePath, type ZipEntry } from '../support/zip.ts';

const FILES = {
  'a.txt': 'text',
  'deep/er/empty': '',
  'deep/größe 😀.txt': 'größe',
  'large.bin': randomBytes(3_000_000),
};
const ENTRIES = Object.entries(FILES).map(([name, content]) => ({ name, content }));

async function* inPieces(zip: Buffer) {
  for (let at = 0; at < zip.length; at += 50_000) yield zip.subarray(at, at + 50_000);
}

async function save(zip: Buffer, options: { links?: 'follow' | 'error'; limits?: Limits } = {}) {
  const { links, ...rest } = options;
  const storePath = await tempFolder();
  const storage = await openTestStorage({ storePath, ...rest });
  const details = { projectId: 'p', ...(links === undefined ? {} : { links }) };
  const receipt = await storage.saveZip({ ...details, zip: inPieces(zip) }).catch((error) => {
    // Nothing is left of it, in place or in staging.
    const left = listTree(storePath).filter((name) => /^p|staging\/[^/]+\/./.test(name));
    expect(left).toEqual([]);
    throw error;
  });
  const { sourcePath } = await storage.get(receipt);
  return { receipt, files: readTree(sourcePath), manifest: await storage.show(receipt) };
}

function bytesOf(files: Record<string, string | Buffer>): Record<string, Buffer> {
  return Object.fromEntries(
    Object.entries(files).map(([path, content]) => [path, Buffer.from(content as string)]),
  );
}

describe('a zip', () => {
  test.each([true, false])('is saved as its files would be; deflated: %s', async (isDeflated) => {
    const { files, receipt } = await save(makeZip(ENTRIES.map((e) => ({ ...e, isDeflated }))));
    expect(files).toEqual(bytesOf(FILES));
    const storage = await openTestStorage();
    const direct = await storage.save({ projectId: 'p', files: FILES });
    expect(receipt.digest).toBe(direct.digest);
  });

  test('of Python, with folders, is saved with its modes', async () => {
    const folder = await tempFolder();
    const zip = join(folder, 'python.zip');
    const program = [
      'import sys, zipfile',
      'with zipfile.ZipFile(sys.argv[1], "w", zipfile.ZIP_DEFLATED) as z:',
      '  z.mkdir("folder")',
      '  z.writestr("folder/a.txt", "a" * 100000)',
      '  info = zipfile.ZipInfo("run.sh"); info.external_attr = 0o100755 << 16',
      '  z.writestr(info, "#!/bin/sh")',
    ];
    execFileSync('python3', ['-c', program.join('\n'), zip]);
    const { files, receipt } = await save(readFileSync(zip));
    expect(files).toEqual(bytesOf({ 'folder/a.txt': 'a'.repeat(100_000), 'run.sh': '#!/bin/sh' }));
    const content = { content: '#!/bin/sh', mode: 0o755 };
    const same = {
      'folder/a.txt': { content: 'a'.repeat(100_000), mode: 0o600 },
      'run.sh': content,
    };
    const direct = await (await openTestStorage()).save({ projectId: 'p', files: same });
    expect(receipt.digest).toBe(direct.digest);
  });

  test('that was downloaded is the same generation, saved again', async () => {
    const { daemon } = await startDaemon();
    const post = (query: string, type: string, body: string | Buffer<ArrayBuffer>) =>
      fetch(`${daemon.url}/v1/generations${query}`, {
        method: 'POST',
        headers: { 'content-type': type },
        body,
      }).then((answer) => answer.json() as Promise<{ digest: string; left_out: unknown }>);
    const first = await post(
      '',
      'application/json',
      JSON.stringify({
        project_id: 'p',
        files: { 'a/b.py': 'b', 'run.sh': { content: 'x', mode: 493 } },
      }),
    );
    const zip = await fetch(`${daemon.url}/v1/projects/p/1/archive.zip`);
    const bytes = Buffer.from(await zip.arrayBuffer());
    for (const type of ['application/zip', 'application/x-zip-compressed']) {
      const again = await post('?project_id=q', type, bytes);
      expect(again).toMatchObject({
        digest: first.digest,
        left_out: { items: [{ path: '.codebegen/manifest.json', reason: 'reserved' }] },
      });
    }
  });

  test('is what the command takes too, as it takes a tar', async () => {
    const folder = await tempFolder();
    const env = { FILE_STORAGE_PATH: join(folder, 'store') };
    await writeFiles(join(folder, 'out'), { a: 'a', 'b/c': 'c' });
    writeFileSync(
      join(folder, 'out.zip'),
      makeZip([
        { name: 'a', content: 'a' },
        { name: 'b/c', content: 'c' },
      ]),
    );
    writeFileSync(
      join(folder, 'out.tar'),
      makeTar([
        { name: 'a', content: 'a' },
        { name: 'b/c', content: 'c' },
      ]),
    );
    const digests = [];
    for (const path of ['out', 'out.zip', 'out.tar']) {
      const ran = await runCli(['save', join(folder, path), '--project', 'p', '--json'], env);
      expect(ran).toMatchObject({ code: 0 });
      digests.push(JSON.parse(ran.stdout).digest);
    }
    expect(new Set(digests).size).toBe(1);
    const args = ['save', join(folder, 'out.zip'), '--project', 'p', '--exclude', '*.log'];
    const refused = await runCli(args, env);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('is an archive') });
    writeFileSync(join(folder, 'text.txt'), 'no archive');
    const text = await runCli(['save', join(folder, 'text.txt'), '--project', 'p'], env);
    expect(text).toMatchObject({ code: 1, stderr: expect.stringContaining('Cannot read the tar') });
  });

  test.each<[string, ZipEntry, string]>([
    ['in UTF-8, said so', { name: 'größe' }, 'größe'],
    ['in UTF-8, not said', { name: 'größe', flags: 0 }, 'größe'],
    ['in the letters of the first PCs', { name: Buffer.from([0x67, 0x72, 0x94]), flags: 0 }, 'grö'],
    [
      'in another alphabet, with one in UTF-8 beside it',
      { name: '?', flags: 0, extra: unicodePath('größe', Buffer.from('?')) },
      'größe',
    ],
    ['with ./ before it', { name: './a/b' }, 'a/b'],
  ])('has names %s', async (_, entry, path) => {
    expect(Object.keys((await save(makeZip([{ ...entry, content: 'x' }]))).files)).toEqual([path]);
  });

  test('made on DOS has files like others', async () => {
    const { receipt } = await save(makeZip([{ name: 'a', content: 'a', system: 0, mode: 0x20 }]));
    const direct = await (await openTestStorage()).save({ projectId: 'p', files: { a: 'a' } });
    expect(receipt.digest).toBe(direct.digest);
  });

  test('has links, left out, refused or followed', async () => {
    const zip = makeZip([
      { name: 'a/file', content: 'A' },
      { name: 'link', content: 'a/file', mode: 0o120777 },
      { name: 'folder', content: 'a', mode: 0o120777 },
    ]);
    expect((await save(zip)).receipt.leftOut).toMatchObject({ count: 2 });
    expect((await save(zip, { links: 'follow' })).files).toEqual(
      bytesOf({ 'a/file': 'A', 'folder/file': 'A', link: 'A' }),
    );
    await expect(save(zip, { links: 'error' })).rejects.toThrow('"link"');
  });
});

/** A name, or the zip, and what is said of it. */
const HOSTILE: [string, ZipEntry[] | Buffer, code: string, names: string][] = [
  ['climbs out', [{ name: '../a' }], 'invalid_input', '"../a"'],
  ['climbs out in the middle', [{ name: 'a/../../b' }], 'invalid_input', '"a/../../b"'],
  ['is absolute', [{ name: '/etc/a' }], 'invalid_input', '"/etc/a"'],
  ['has a drive', [{ name: 'C:/a' }], 'invalid_input', '"C:/a"'],
  ['has a backslash', [{ name: 'a\\b' }], 'invalid_input', 'a\\\\b'],
  ['has a NUL', [{ name: 'a\0b' }], 'invalid_input', 'a\\u0000b'],
  ['has a name that is no UTF-8', [{ name: Buffer.from([0x61, 0xff]) }], 'invalid_input', 'UTF-8'],
  ['is there twice', [{ name: 'a' }, { name: 'a' }], 'invalid_input', '"a"'],
  ['differs only in case', [{ name: 'a' }, { name: 'A' }], 'invalid_input', '"A"'],
  ['is a file and a folder', [{ name: 'a' }, { name: 'a/b' }], 'invalid_input', '"a'],
  ['is encrypted', [{ name: 'a', flags: 1 }], 'invalid_input', 'encrypted'],
  ['is packed in a way nobody knows', [{ name: 'a', method: 99 }], 'invalid_input', 'method 99'],
  ['is a pipe', [{ name: 'a', mode: 0o010644 }], 'invalid_input', 'neither file'],
  ['is a folder with content', [{ name: 'a/', content: 'x' }], 'invalid_input', 'with content'],
  [
    'has another name in front of its content',
    [{ name: 'a', localName: 'b' }],
    'invalid_input',
    'two names',
  ],
  [
    'is a link out',
    [{ name: 'a', content: '../../etc/passwd', mode: 0o120777 }, { name: 'b' }],
    'invalid_input',
    '"a"',
  ],
  [
    'is a link to a path without end',
    [{ name: 'a', content: 'x/'.repeat(5000), mode: 0o120777 }],
    'invalid_input',
    'over 4096 bytes',
  ],
  ['has another checksum', [{ name: 'a', content: 'x', crc: 1 }], 'corrupt', '"a" is damaged'],
  ['is shorter than it says', [{ name: 'a', content: 'x', size: 2 }], 'corrupt', 'zip'],
  ['is longer than it says', [{ name: 'a', content: 'xx', size: 1 }], 'corrupt', 'zip'],
  ['is no zip', Buffer.from('PK no zip'), 'corrupt', 'Cannot read the zip'],
  ['is empty', Buffer.alloc(0), 'corrupt', 'Cannot read the zip'],
  ['is cut off', makeZip(ENTRIES).subarray(0, 1000), 'corrupt', 'Cannot read the zip'],
  ['has more than it says', makeZip([{ name: 'a' }, { name: 'b' }], 1), 'corrupt', 'more entries'],
  ['has less than it says', makeZip([{ name: 'a' }], 2), 'corrupt', 'Cannot read the zip'],
  ['has no files', makeZip([{ name: 'a/', mode: 0o040755 }]), 'invalid_input', 'holds no files'],
];

describe('a zip that', () => {
  test.each(HOSTILE)('%s is refused, and nothing is left', async (_, entries, code, names) => {
    const zip = Buffer.isBuffer(entries) ? entries : makeZip(entries);
    await expect(save(zip, { links: 'follow' })).rejects.toMatchObject({
      code,
      message: expect.stringContaining(names),
    });
  });

  test.each<[string, ZipEntry[]]>([
    ['has a file too large', [{ name: 'a', content: Buffer.alloc(10_000_001) }]],
    [
      'has too much in all',
      Array.from({ length: 3 }, (_, i) => ({ name: `f${i}`, content: Buffer.alloc(9_000_000) })),
    ],
    ['has too many files', Array.from({ length: 51 }, (_, i) => ({ name: `f${i}` }))],
    [
      'has too many folders',
      Array.from({ length: 500 }, (_, i) => ({ name: `f${i}/`, mode: 0o040755 })),
    ],
  ])('%s is refused before it is unpacked', async (_, entries) => {
    const limits = { files: 50, entries: 100, fileBytes: 1e7, totalBytes: 2e7 };
    const given = { limits: { ...limits, partBytes: 255, pathBytes: 1024 } };
    await expect(save(makeZip(entries), given)).rejects.toMatchObject({ code: 'too_large' });
  });

  test('never ends is refused, and none of it stays', async () => {
    const limits = { files: 5, entries: 10, fileBytes: 100, totalBytes: 1000 };
    const storage = await openTestStorage({
      limits: { ...limits, partBytes: 255, pathBytes: 1024 },
    });
    async function* endless() {
      for (;;) yield Buffer.alloc(10_000);
    }
    const open = () => readdirSync('/proc/self/fd').length;
    const before = existsSync('/proc/self/fd') ? open() : 0;
    await expect(storage.saveZip({ projectId: 'p', zip: endless() })).rejects.toMatchObject({
      code: 'too_large',
    });
    if (before > 0) expect(open()).toBeLessThanOrEqual(before);
  });
});
