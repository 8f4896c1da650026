import { createHash } from 'node:crypto';
import { mkdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openTestStorage } from '../support/storage.ts';
import { tempFolder, writeFiles } from '../support/temp.ts';
import { listTree, readTree } from '../support/tree.ts';

const sha256 = (content: string | Uint8Array) => createHash('sha256').update(content).digest('hex');
const OWNER = '3f0e1c52-93b5-4d0f-8f6a-0d3c3f5a1b11';

describe('save', () => {
  test('puts text, bytes and base64 on disk as they were given, and says so', async () => {
    const storage = await openTestStorage();
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
    const receipt = await storage.save({
      projectId: 'abc-123',
      generationId: 'gen-456',
      metadata: { prompt: 'a shop' },
      files: {
        'app/main.py': 'print("ä")\n',
        'logo.bin': bytes,
        'b.bin': { content: Buffer.from(bytes).toString('base64'), encoding: 'base64' },
        'run.sh': { content: '#!/bin/sh\n', mode: 0o755 },
        empty: '',
      },
    });

    expect(receipt).toMatchObject({
      projectId: 'abc-123',
      version: 1,
      generationId: 'gen-456',
      status: 'local',
      created: true,
      fileCount: 5,
      bytes: 12 + 256 + 256 + 10,
    });
    const { sourcePath, path, manifest } = await storage.get(receipt);
    expect(path).toMatch(/\/abc-123\/generations\/v1__gen-456$/);
    expect(readTree(sourcePath)).toEqual({
      'app/main.py': Buffer.from('print("ä")\n'),
      'logo.bin': Buffer.from(bytes),
      'b.bin': Buffer.from(bytes),
      'run.sh': Buffer.from('#!/bin/sh\n'),
      empty: Buffer.alloc(0),
    });
    expect((await stat(join(sourcePath, 'run.sh'))).mode & 0o777).toBe(0o700);
    expect(manifest).toMatchObject({
      schema: 1,
      generation_id: 'gen-456',
      project_id: 'abc-123',
      version: 1,
      file_count: 5,
      total_size_bytes: 534,
      files: ['app/main.py', 'b.bin', 'empty', 'logo.bin', 'run.sh'],
      metadata: { prompt: 'a shop' },
      digest: receipt.digest,
      artifacts: [],
    });
    expect(manifest.entries?.[0]).toEqual({
      path: 'app/main.py',
      size: 12,
      sha256: sha256('print("ä")\n'),
      mode: 0o644,
    });
    const { bytes: size, sha256: hash } = await storage.archive(receipt);
    const archive = await readFile(join(path, 'archive.tar.gz'));
    expect({ size, hash }).toEqual({ size: archive.length, hash: sha256(archive) });
  });

  test('gives metadata back whatever its members are called', async () => {
    const storage = await openTestStorage();
    const text = '{"constructor":1,"prototype":[2],"__proto__":{"a":3},"toString":null,"":4}';
    const receipt = await storage.save({
      projectId: 'p',
      files: { a: '1' },
      metadata: JSON.parse(text),
    });
    const { manifest } = await storage.get(receipt);
    expect(JSON.stringify(manifest.metadata)).toBe(text);
  });

  test('of the same content again changes nothing, whatever time and metadata say', async () => {
    const storage = await openTestStorage();
    const input = { projectId: 'p', version: 4, generationId: 'g', files: { a: '1', b: '2' } };
    const first = await storage.save(input);
    await storage.archive(first);
    const before = listTree(first.path);
    const again = await storage.save({ ...input, files: { b: '2', a: '1' }, metadata: { n: 1 } });
    expect(again).toEqual({ ...first, created: false });
    expect(listTree(first.path)).toEqual(before);
    expect((await storage.list('p')).items).toHaveLength(1);
  });

  test.each([
    ['other content', { files: { a: 'other' } }, 'other content'],
    ['a file less', { files: { a: '1' } }, 'other content'],
    ['another generation', { generationId: 'g2' }, 'held by generation "g"'],
  ])('under a taken version with %s is a conflict, and changes nothing', async (_, change, why) => {
    const storage = await openTestStorage();
    const input = { projectId: 'p', version: 1, generationId: 'g', files: { a: '1', b: '2' } };
    const { path } = await storage.archive(await storage.save(input));
    const before = readTree(dirname(path));
    await expect(storage.save({ ...input, ...change })).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining(why),
    });
    expect(readTree(dirname(path))).toEqual(before);
  });

  test('without a version takes the next free one; a known generation id keeps its own', async () => {
    const storage = await openTestStorage();
    const save = (generationId: string, text: string, version?: number) =>
      storage.save({
        projectId: 'p',
        generationId,
        files: { a: text },
        ...(version === undefined ? {} : { version }),
      });
    expect((await save('g1', '1')).version).toBe(1);
    expect((await save('g7', '7', 7)).version).toBe(7);
    expect((await save('g8', '8')).version).toBe(8);
    expect(await save('g1', '1')).toMatchObject({ version: 1, created: false });
    await expect(save('g1', 'other')).rejects.toMatchObject({ code: 'conflict' });
  });

  test('of 20 generations at once gives each its own version', async () => {
    const storage = await openTestStorage();
    const receipts = await Promise.all(
      Array.from({ length: 20 }, (_, i) => storage.save({ projectId: 'p', files: { a: `${i}` } })),
    );
    expect(receipts.map((receipt) => receipt.version).sort((a, b) => a - b)).toEqual(
      Array.from({ length: 20 }, (_, i) => i + 1),
    );
    for (const [i, receipt] of receipts.entries()) {
      expect(readTree((await storage.get(receipt)).sourcePath)).toEqual({ a: Buffer.from(`${i}`) });
    }
  });

  test('of one generation 10 times at once happens once', async () => {
    const storage = await openTestStorage();
    const input = { projectId: 'p', generationId: 'g', files: { a: '1' } };
    const receipts = await Promise.all(Array.from({ length: 10 }, () => storage.save(input)));
    expect(receipts.filter((receipt) => receipt.created)).toHaveLength(1);
    expect(new Set(receipts.map((receipt) => receipt.digest)).size).toBe(1);
  });

  test('by two storages on one folder at once gives no version twice', async () => {
    const storePath = await tempFolder();
    const storages = await Promise.all([
      openTestStorage({ storePath }),
      openTestStorage({ storePath }),
    ]);
    const receipts = await Promise.all(
      Array.from({ length: 16 }, (_, i) =>
        storages[i % 2]!.save({ projectId: 'p', files: { a: `${i}` } }),
      ),
    );
    expect(new Set(receipts.map((receipt) => receipt.version)).size).toBe(16);
    expect((await storages[0]!.list('p')).items).toEqual((await storages[1]!.list('p')).items);
  });

  test.each([
    ['project id', { projectId: '../x' }],
    ['generation id', { generationId: 'a/b' }],
    ['version', { version: 0 }],
    ['owner', { ownerId: 'me' }],
    ['metadata', { metadata: [] as never }],
    ['base64', { files: { a: { content: '!', encoding: 'base64' as const } } }],
    ['encoding', { files: { a: { content: 'a', encoding: 'latin1' as never } } }],
    ['mode', { files: { a: { content: 'a', mode: -1 } } }],
    ['holds no files', { files: {} }],
  ])('with a bad %s is refused by its name, and nothing is written', async (named, change) => {
    const storePath = await tempFolder();
    const storage = await openTestStorage({ storePath });
    await expect(
      storage.save({ projectId: 'p', files: { a: '1' }, ...change }),
    ).rejects.toMatchObject({ code: 'invalid_input', message: expect.stringContaining(named) });
    expect(listTree(storePath).filter((name) => !name.startsWith('.codebegen'))).toEqual([]);
  });

  test('under a project id that differs from another only in case is a conflict', async () => {
    const storage = await openTestStorage();
    await storage.save({ projectId: 'Shop', files: { a: '1' } });
    await expect(storage.save({ projectId: 'shop', files: { a: '1' } })).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('"Shop"'),
    });
  });

  test.each([
    ['a file', { fileBytes: 10 }, { a: 'x'.repeat(11) }],
    ['all files', { totalBytes: 10 }, { a: 'x'.repeat(6), b: 'x'.repeat(6) }],
    ['their number', { files: 1 }, { a: '', b: '' }],
  ])('beyond the limit on %s is too large', async (_, limit, files) => {
    const limits = {
      files: 100,
      entries: 200,
      fileBytes: 1000,
      totalBytes: 1000,
      partBytes: 255,
      pathBytes: 1024,
      ...limit,
    };
    const storage = await openTestStorage({ limits });
    await expect(storage.save({ projectId: 'p', files })).rejects.toMatchObject({
      code: 'too_large',
    });
  });

  test('keeps the first owner of a project', async () => {
    const storage = await openTestStorage();
    await storage.save({ projectId: 'p', files: { a: '1' }, ownerId: OWNER });
    await storage.save({ projectId: 'p', files: { a: '2' }, ownerId: OWNER.replace('3', '4') });
    expect((await storage.listProjects()).items).toMatchObject([
      { projectId: 'p', ownerId: OWNER },
    ]);
  });
});

describe('saveFolder', () => {
  test('takes all but .git, node_modules, what is excluded and the store itself', async () => {
    const folder = await tempFolder();
    await writeFiles(folder, {
      'src/index.ts': '1',
      'src/node_modules/x.js': '2',
      '.git/config': '3',
      'node_modules/y/index.js': '4',
      '.gitignore': '5',
      'dist/out.js': '6',
      'src/dist/kept.js': '7',
    });
    const storage = await openTestStorage({ storePath: join(folder, 'data/projects') });
    const receipt = await storage.saveFolder({ folder, projectId: 'p', exclude: ['/dist'] });
    expect((await storage.get(receipt)).manifest.files).toEqual([
      '.gitignore',
      'src/dist/kept.js',
      'src/index.ts',
    ]);
  });

  test('refuses a symbolic link where that is asked for, and names it', async () => {
    const folder = await tempFolder();
    await writeFiles(folder, { 'a/b': '1' });
    await symlink('/etc/passwd', join(folder, 'a/link'));
    const storage = await openTestStorage();
    const saving = storage.saveFolder({ folder, projectId: 'p', links: 'error' });
    await expect(saving).rejects.toMatchObject({
      code: 'invalid_input',
      message: expect.stringContaining('"a/link": it is a symbolic link'),
    });
  });

  test.skipIf(process.platform === 'darwin')('refuses a name that is not UTF-8', async () => {
    const folder = await tempFolder();
    await writeFile(Buffer.concat([Buffer.from(`${folder}/b`), Buffer.from([0xe4])]), '1');
    const storage = await openTestStorage();
    await expect(storage.saveFolder({ folder, projectId: 'p' })).rejects.toMatchObject({
      code: 'invalid_input',
      message: expect.stringContaining('not UTF-8'),
    });
  });

  test('of what is no folder is refused, naming it', async () => {
    const folder = await tempFolder();
    await writeFiles(folder, { file: '1' });
    const storage = await openTestStorage();
    for (const [name, state] of [
      ['missing', 'there is no such folder'],
      ['file', 'it is no folder'],
    ] as const) {
      const path = join(folder, name);
      await expect(storage.saveFolder({ folder: path, projectId: 'p' })).rejects.toMatchObject({
        code: 'invalid_input',
        message: `Cannot save "${path}": ${state}`,
      });
    }
  });

  test('of an empty folder is refused, naming it', async () => {
    const folder = await tempFolder();
    await mkdir(join(folder, 'only/folders'), { recursive: true });
    const storage = await openTestStorage();
    await expect(storage.saveFolder({ folder, projectId: 'p' })).rejects.toMatchObject({
      code: 'invalid_input',
      message: expect.stringContaining(folder),
    });
  });
});

describe('a storage that is opened again', () => {
  test('finds what was saved', async () => {
    const storePath = await tempFolder();
    const first = await openTestStorage({ storePath });
    const receipt = await first.save({ projectId: 'p', files: { a: '1' } });
    await first.close();
    const second = await openTestStorage({ storePath });
    expect(await second.show(receipt)).toMatchObject({ digest: receipt.digest, status: 'local' });
  });

  test('without its catalog makes it from the disk: generations, tombstones and owners', async () => {
    const storePath = await tempFolder();
    const first = await openTestStorage({ storePath });
    const kept = await first.save({ projectId: 'p', files: { a: '1' }, ownerId: OWNER });
    const gone = await first.save({ projectId: 'p', files: { a: '2' } });
    await first.delete(gone);
    await first.close();
    await rm(join(storePath, '.codebegen-storage'), { recursive: true });

    const second = await openTestStorage({ storePath });
    expect(await second.show(kept)).toMatchObject({ digest: kept.digest, fileCount: 1 });
    await expect(second.show(gone)).rejects.toMatchObject({ code: 'not_found' });
    expect((await second.save({ projectId: 'p', files: { a: '3' } })).version).toBe(3);
    expect((await second.listProjects()).items).toMatchObject([{ ownerId: OWNER, versions: 2 }]);
  });
});

describe('delete', () => {
  test('takes a generation away at once, leaves a tombstone, and may be repeated', async () => {
    const storage = await openTestStorage();
    const receipt = await storage.save({ projectId: 'p', generationId: 'g', files: { a: '1' } });
    expect(await storage.delete(receipt)).toMatchObject({ deleted: true });
    expect(listTree(receipt.path)).toEqual([]);
    const tombstones = join(receipt.path, '../tombstones.jsonl');
    expect(JSON.parse(await readFile(tombstones, 'utf8'))).toMatchObject({
      version: 1,
      generation_id: 'g',
      digests: [receipt.digest],
    });
    await expect(storage.get(receipt)).rejects.toMatchObject({ code: 'not_found' });
    expect(await storage.delete(receipt)).toMatchObject({ deleted: false });
    await expect(storage.save({ projectId: 'p', version: 1, files: { a: '1' } })).rejects.toThrow(
      'it was deleted',
    );
  });

  test('of what never was is not_found, and so is another generation id', async () => {
    const storage = await openTestStorage();
    await storage.save({ projectId: 'p', generationId: 'g', files: { a: '1' } });
    for (const ref of [
      { projectId: 'p', version: 2 },
      { projectId: 'q', version: 1 },
      { projectId: 'p', version: 1, generationId: 'other' },
    ]) {
      await expect(storage.delete(ref)).rejects.toMatchObject({ code: 'not_found' });
    }
    expect((await storage.list('p')).items).toHaveLength(1);
  });
});

test('list pages newest first without gaps or repeats', async () => {
  const storage = await openTestStorage();
  for (let i = 0; i < 7; i++) await storage.save({ projectId: 'p', files: { a: `${i}` } });
  const versions: number[] = [];
  let cursor: number | null | undefined;
  do {
    const page = await storage.list('p', { limit: 3, ...(cursor ? { cursor } : {}) });
    versions.push(...page.items.map((item) => item.version));
    cursor = page.nextCursor;
  } while (cursor !== null);
  expect(versions).toEqual([7, 6, 5, 4, 3, 2, 1]);
});

test('a writer whose stream broke off saves nothing, also where nobody heard of it', async () => {
  const storage = await openTestStorage();
  const writer = storage.writer({ projectId: 'p' });
  await writer.write('whole.py', 'whole');
  async function* broken() {
    yield Buffer.from('half of the fi');
    throw new Error('the model went away');
  }
  await expect(writer.write('main.py', broken())).rejects.toThrow();
  await expect(writer.commit()).rejects.toThrow('the model went away');
  expect((await storage.list('p')).items).toEqual([]);
});

test('a version that is damaged keeps no save from having the next', async () => {
  const storePath = await tempFolder();
  await writeFiles(storePath, { 'shop/generations/v1__a/source/x': 'no manifest' });
  const storage = await openTestStorage({ storePath, onProblem: () => {} });
  expect(await storage.save({ projectId: 'shop', files: { a: '1' } })).toMatchObject({
    version: 2,
  });
  expect(await storage.save({ projectId: 'shop', files: { a: '2' } })).toMatchObject({
    version: 3,
  });
  await expect(
    storage.save({ projectId: 'shop', version: 1, files: { a: '1' } }),
  ).rejects.toMatchObject({ code: 'corrupt' });
});

test('a first save that failed keeps the name of its project from nobody', async () => {
  const storage = await openTestStorage();
  await expect(storage.save({ projectId: 'shop', files: { '../a': '' } })).rejects.toThrow();
  await expect(storage.saveFolder({ projectId: 'shop', folder: '/nowhere' })).rejects.toThrow();
  expect(await storage.save({ projectId: 'Shop', files: { a: '' } })).toMatchObject({ version: 1 });
});
