import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import type { GenerationWriter, Storage } from '../../node-agent/index.ts';
import { startDaemon } from '../support/daemon.ts';
import { runCli } from '../support/run.ts';
import { openTestStorage, settled } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';
import { listTree, readTexts, readTree } from '../support/tree.ts';

describe('a writer', () => {
  test('saves files as they come, and nothing is there before its commit', async () => {
    const storePath = await tempFolder();
    const storage = await openTestStorage({ storePath });
    const writer = storage.writer({ projectId: 'p', generationId: 'g' });
    await writer.write('a/b.txt', 'text');
    await writer.write('run.sh', { content: '#!/bin/sh', mode: 0o755 });
    await writer.write(
      'stream.bin',
      (async function* () {
        yield new Uint8Array([1, 2]);
        yield new Uint8Array([3]);
      })(),
    );
    expect(existsSync(join(storePath, 'p'))).toBe(false);
    const receipt = await writer.commit();
    expect(readTree((await storage.get(receipt)).sourcePath)).toEqual({
      'a/b.txt': Buffer.from('text'),
      'run.sh': Buffer.from('#!/bin/sh'),
      'stream.bin': Buffer.from([1, 2, 3]),
    });
    // The same content given at once has the same digest: it is the same save.
    const again = await storage.save({
      projectId: 'p',
      generationId: 'g',
      files: {
        'a/b.txt': 'text',
        'run.sh': { content: '#!/bin/sh', mode: 0o755 },
        'stream.bin': new Uint8Array([1, 2, 3]),
      },
    });
    expect(again).toMatchObject({ created: false, digest: receipt.digest });
    await expect(writer.write('late', 'x')).rejects.toThrow('over');
  });

  test('that is aborted, or whose file fails, leaves nothing', async () => {
    const storePath = await tempFolder();
    const storage = await openTestStorage({ storePath });
    const aborted = storage.writer({ projectId: 'p' });
    await aborted.write('a', 'a');
    await aborted.abort();
    await aborted.abort();
    const hostile = storage.writer({ projectId: 'p' });
    await hostile.write('a', 'a');
    await expect(hostile.write('../b', 'b')).rejects.toMatchObject({ code: 'invalid_input' });
    await expect(hostile.write('A', 'b')).rejects.toMatchObject({ code: 'invalid_input' });
    await hostile.abort();
    const empty = storage.writer({ projectId: 'p' });
    await expect(empty.commit()).rejects.toThrow('holds no files');
    expect(listTree(storePath).filter((name) => /^p$|staging\/[^/]+\/./.test(name))).toEqual([]);
  });

  test('is held to the limits', async () => {
    const limits = {
      files: 2,
      entries: 40_000,
      fileBytes: 10,
      totalBytes: 15,
      partBytes: 255,
      pathBytes: 1024,
    };
    const storage = await openTestStorage({ limits });
    const writer = storage.writer({ projectId: 'p' });
    await expect(writer.write('a', 'x'.repeat(11))).rejects.toMatchObject({ code: 'too_large' });
    await writer.abort();
  });
});

describe('what comes in pieces is what is saved', () => {
  // Around what a tar's block holds, what is held until it is whole, and what is gathered.
  const SIZES = [0, 1, 511, 512, 513, 65_535, 65_536, 65_537, 262_143, 262_144, 262_145, 1_000_003];

  test.each([true, false])('of any size, all at once; known before: %s', async (isKnown) => {
    const storage = await openTestStorage();
    const writer = storage.writer({ projectId: 'p' });
    const files = new Map(SIZES.map((size) => [`f${size}`, randomBytes(size)]));
    await Promise.all(
      [...files].map(([path, content]) =>
        writer.write(path, inPieces(content), isKnown ? { size: content.length } : {}),
      ),
    );
    const receipt = await writer.commit();
    const { sourcePath } = await storage.get(receipt);
    expect(hashesOf(readTree(sourcePath))).toEqual(hashesOf(Object.fromEntries(files)));
    expect(await problemsOf(storage)).toEqual([]);
  });

  test('where each waits for the other, nobody waits for ever', async () => {
    const storage = await openTestStorage();
    const writer = storage.writer({ projectId: 'p' });
    const content = randomBytes(1_000_000);
    const [a, b] = new Blob([content]).stream().tee();
    await Promise.all([writer.write('a', a), writer.write('b', b)]);
    async function* afterAnother() {
      yield content;
      await writer.write('inner', 'inner');
      yield content;
    }
    await writer.write('outer', afterAnother(), { size: 2_000_000 });
    const { sourcePath } = await storage.get(await writer.commit());
    const twice = Buffer.concat([content, content]);
    const expected = { a: content, b: content, inner: Buffer.from('inner'), outer: twice };
    expect(hashesOf(readTree(sourcePath))).toEqual(hashesOf(expected));
  });

  test('memory that is used again after it was given changes nothing', async () => {
    const storage = await openTestStorage();
    const writer = storage.writer({ projectId: 'p' });
    const memory = Buffer.alloc(300_000);
    async function* pieces() {
      for (let i = 0; i < 5; i++) yield memory.fill(i);
    }
    await writer.write('known', pieces(), { size: 1_500_000 });
    await writer.write('unknown', pieces());
    const given = memory.fill('a').subarray(0, 10);
    const writing = writer.write('whole', given);
    memory.fill('b');
    await writing;
    const receipt = await writer.commit();
    const { sourcePath } = await storage.get(receipt);
    const expected = Buffer.concat(Array.from({ length: 5 }, (_, i) => Buffer.alloc(300_000, i)));
    const { known, unknown } = readTree(sourcePath);
    expect(hashesOf({ known, unknown })).toEqual(hashesOf({ known: expected, unknown: expected }));
    expect(await problemsOf(storage)).toEqual([]);
  });

  test.each([
    ['less', 99],
    ['more', 101],
    ['far less', 1],
    ['far more', 300_000],
  ])('%s than what was said is refused by name, and nothing is saved', async (_, bytes) => {
    const storage = await openTestStorage();
    for (const [said, sent] of [
      [100, bytes],
      [100_000, bytes * 1000],
    ] as const) {
      const writer = storage.writer({ projectId: 'p' });
      await writer.write('a', 'a');
      await expect(
        writer.write('b', inPieces(Buffer.alloc(sent)), { size: said }),
      ).rejects.toMatchObject({
        code: 'invalid_input',
        message: expect.stringContaining(`"b": it has more or less than the ${said} bytes`),
      });
      await expect(writer.commit()).rejects.toMatchObject({ code: 'invalid_input' });
    }
    expect((await storage.list('p')).items).toEqual([]);
  });

  test('what was said to be too large is refused before it comes', async () => {
    const storage = await openTestStorage();
    const writer = storage.writer({ projectId: 'p' });
    let asked = false;
    async function* pieces() {
      asked = true;
      yield new Uint8Array(1);
    }
    await expect(writer.write('a', pieces(), { size: 2 ** 40 })).rejects.toMatchObject({
      code: 'too_large',
    });
    expect(asked).toBe(false);
    await writer.abort();
  });
});

test.each([1013, 1014, 1023, 1024])(
  'a path of %i bytes is saved, settled and read',
  async (bytes) => {
    const path = `${'a/'.repeat(bytes / 2).slice(0, bytes - 1)}z`;
    const storage = await openTestStorage();
    const files = { [path]: 'long', b: 'b' };
    const receipt = await settled(storage, storage.save({ projectId: 'p', files }));
    expect(readTexts((await storage.get(receipt)).sourcePath)).toEqual(files);
    expect(await problemsOf(storage)).toEqual([]);
  },
);

/** What another program does to the folder of a generation that is being written. */
const HARM: readonly [string, (folder: string) => void][] = [
  [
    'emptied',
    (folder) => {
      rmSync(folder, { recursive: true });
      mkdirSync(folder);
    },
  ],
  ['removed', (folder) => rmSync(folder, { recursive: true })],
  ['moved away', (folder) => renameSync(folder, `${folder}.away`)],
  [
    'emptied, its tar being another',
    (folder) => {
      rmSync(join(folder, 'archive.tar'));
      writeFileSync(join(folder, 'archive.tar'), Buffer.alloc(10_240));
    },
  ],
];

describe.each(HARM)('a staging folder that is %s meanwhile', (_, harm) => {
  test('fails a writer, and nothing is saved', async () => {
    const storePath = await tempFolder();
    const storage = await openTestStorage({ storePath });
    const writer = storage.writer({ projectId: 'p' });
    for (const path of ['a', 'b']) await writer.write(path, path);
    harm(stagedIn(storePath));
    const rest = async () => {
      for (const path of ['c', 'd']) await writer.write(path, path);
      return writer.commit();
    };
    await expect(rest()).rejects.toMatchObject({ code: 'unavailable' });
    await expectNothing(storage);
  });

  test('fails a form, and nothing is saved', async () => {
    const { storePath, daemon } = await startDaemon();
    let goOn = () => {};
    const harmed = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const part = (head: string, body: string) =>
      `--x\r\nContent-Disposition: form-data; ${head}\r\n\r\n${body}\r\n`;
    async function* form() {
      yield Buffer.from(part('name="project_id"', 'p'));
      for (const path of ['a', 'b']) {
        yield Buffer.from(part(`name="f"; filename="${path}"`, path.repeat(100_000)));
      }
      await harmed;
      for (const path of ['c', 'd']) {
        yield Buffer.from(part(`name="f"; filename="${path}"`, path.repeat(100_000)));
      }
      yield Buffer.from('--x--\r\n');
    }
    const sending = fetch(`${daemon.url}/v1/generations`, {
      method: 'POST',
      headers: { 'content-type': 'multipart/form-data; boundary=x' },
      body: Readable.toWeb(Readable.from(form())) as ReadableStream,
      duplex: 'half',
    } as RequestInit);
    await expect.poll(() => findStaged(storePath)).not.toBeNull();
    harm(stagedIn(storePath));
    goOn();
    const answer = await sending;
    expect([answer.status, await answer.json()]).toMatchObject([503, { code: 'unavailable' }]);
    const list = await fetch(`${daemon.url}/v1/projects/p`);
    expect(await list.json()).toMatchObject({ items: [] });
  });
});

test('a store that its own process copies is taken for left: nothing acknowledged is harmed', async () => {
  const storePath = await tempFolder();
  const storage = await openTestStorage({ storePath });
  const first = await storage.save({ projectId: 'p', files: { a: 'first' } });
  const writer = storage.writer({ projectId: 'p' });
  for (const path of ['a', 'b']) await writer.write(path, path.repeat(200_000));
  // What is made for a full disk is in place: else files go while they are copied.
  const reserve = join(storePath, '.codebegen-storage/reserve');
  await expect.poll(() => existsSync(reserve)).toBe(true);
  // The kernel takes the locks of a process away once it closes any descriptor of the file.
  await cp(storePath, join(await tempFolder(), 'copy'), { recursive: true });
  const other = await runCli(['list', 'p'], { FILE_STORAGE_PATH: storePath });
  expect(other.stdout).toContain(first.generationId);
  const rest = async (given: GenerationWriter) => {
    for (const path of ['c', 'd']) await given.write(path, path.repeat(200_000));
    return given.commit();
  };
  const saved = await rest(writer).then(
    (receipt) => receipt,
    () => null,
  );
  if (saved !== null) {
    const { sourcePath } = await storage.get(saved);
    expect(Object.keys(readTexts(sourcePath)).toSorted()).toEqual(['a', 'b', 'c', 'd']);
  }
  // It goes on, and all that has a receipt is there.
  const next = await rest(storage.writer({ projectId: 'p' }));
  expect(Object.keys(readTexts((await storage.get(next)).sourcePath))).toEqual(['c', 'd']);
  expect(readTexts((await storage.get(first)).sourcePath)).toEqual({ a: 'first' });
  const versions = (await storage.list('p')).items.map(({ version }) => version);
  expect(versions).toHaveLength(saved === null ? 2 : 3);
  expect(await problemsOf(storage)).toEqual([]);
});

async function expectNothing(storage: Storage): Promise<void> {
  expect((await storage.list('p')).items).toEqual([]);
  expect(await problemsOf(storage)).toEqual([]);
  expect(await storage.save({ projectId: 'p', files: { a: 'a' } })).toMatchObject({ version: 1 });
}

/** What is the matter with what is there, every byte of it. */
async function problemsOf(storage: Storage): Promise<unknown[]> {
  const found: unknown[] = [];
  for await (const { problems } of storage.verify()) found.push(...problems);
  return found;
}

function findStaged(storePath: string): string | null {
  const found = listTree(storePath).find((name) => name.endsWith('/archive.tar'));
  return found === undefined ? null : join(storePath, found, '..');
}

function stagedIn(storePath: string): string {
  return findStaged(storePath)!;
}

async function* inPieces(content: Buffer): AsyncGenerator<Uint8Array, void> {
  for (let at = 0; at < content.length; at += 50_000) yield content.subarray(at, at + 50_000);
}

function hashesOf(files: Record<string, Buffer | undefined>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(files)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([path, content]) => [path, createHash('sha256').update(content!).digest('hex')]),
  );
}
