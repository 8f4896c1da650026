import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync, gzipSync, inflateRawSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import type { BlockIndex } from '../../node-agent/archive/pack.ts';
import type { FileContent, Receipt, SaveInput, Storage } from '../../node-agent/index.ts';
import { run } from '../support/run.ts';
import { openTestStorage, settled } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';
import { readTree } from '../support/tree.ts';

const LONG = `${'folder-with-a-long-name/'.repeat(8)}file-${'x'.repeat(120)}.txt`;
const FILES: Record<string, FileContent> = {
  'app/main.py': 'print(1)\n',
  'empty.txt': '',
  'bin/run': { content: '#!/bin/sh\n', mode: 0o755 },
  'ünïcödé/文件😀.md': 'ä',
  [LONG]: 'long',
  [`${'p'.repeat(150)}/${'n'.repeat(100)}`]: 'fits ustar in two parts',
  [`${'n'.repeat(101)}`]: 'one byte too many for ustar',
  'exactly-512': 'x'.repeat(512),
  'random.bin': randomBytes(300_000),
  'text.txt': 'all work and no play\n'.repeat(100_000),
};

describe('an archive', () => {
  test('is unpacked by plain tar, with names, contents and modes', async () => {
    const storage = await openTestStorage();
    const receipt = await settled(storage, storage.save({ projectId: 'p', files: FILES }));
    const folder = await tempFolder();
    const ran = await run('tar', ['xzf', join(receipt.path, 'archive.tar.gz'), '-C', folder]);
    expect(ran).toEqual({ code: 0, stdout: '', stderr: '' });
    const tree = readTree(folder);
    const source = readTree((await storage.get(receipt)).sourcePath);
    for (const [path, content] of Object.entries(source)) {
      expect(tree[path]?.equals(content), path).toBe(true);
    }
    expect(Object.keys(tree)).toHaveLength(Object.keys(FILES).length + 1);
    expect(JSON.parse(String(tree['.codebegen/manifest.json']))).toEqual(
      (await storage.get(receipt)).manifest,
    );
    const listed = await run('tar', ['tzvf', join(receipt.path, 'archive.tar.gz')]);
    expect(listed.stdout).toMatch(/-rwxr-xr-x 0\/0 +10 1980-01-01 \d\d:\d\d bin\/run/);
  });

  test('is read by Python and by DecompressionStream, and has the manifest first', async () => {
    const storage = await openTestStorage();
    const receipt = await settled(storage, storage.save({ projectId: 'p', files: FILES }));
    const archive = join(receipt.path, 'archive.tar.gz');
    const script = `import tarfile,sys
for m in tarfile.open(sys.argv[1]): print(m.name, m.size, oct(m.mode), m.uid, m.mtime)`;
    const python = await run('python3', ['-c', script, archive], {
      env: { PYTHONIOENCODING: 'utf-8' },
    });
    expect(python.stderr).toBe('');
    const names = python.stdout.trim().split('\n');
    expect(names[0]).toMatch(/^\.codebegen\/manifest\.json /);
    expect(names).toContain(`${LONG} 4 0o644 0 315532800`);
    expect(names).toContain('ünïcödé/文件😀.md 2 0o644 0 315532800');

    const stream = new Blob([await readFile(archive)])
      .stream()
      .pipeThrough(new DecompressionStream('gzip'));
    const tar = Buffer.from(await new Response(stream).arrayBuffer());
    expect(tar.equals(gunzipSync(await readFile(archive)))).toBe(true);
    expect(tar.length % 512).toBe(0);
  });

  test('has the same bytes wherever and whenever the same is saved', async () => {
    const now = () => Date.UTC(2026, 0, 1);
    const save = async () => {
      const storage = await openTestStorage({ now });
      return settled(storage, storage.save({ projectId: 'p', generationId: 'g', files: FILES }));
    };
    expect((await save()).sha256).toBe((await save()).sha256);
  });

  test('over 1 MiB has an index: any file comes out of the blocks that hold it', async () => {
    const storage = await openTestStorage();
    const receipt = await settled(storage, storage.save({ projectId: 'p', files: FILES }));
    const { archive, index, manifest } = await readArchive(storage, receipt);
    for (const [i, entry] of manifest.entries!.entries()) {
      const begin = index!.entries[i]!;
      const first = Math.floor(begin / index!.block_bytes);
      const last = Math.floor(Math.max(begin, begin + entry.size - 1) / index!.block_bytes);
      const until = index!.blocks[last + 1] ?? archive.length - 10;
      const range = archive.subarray(index!.blocks[first]!, until);
      const tar = inflateRawSync(Buffer.concat([range, Buffer.from([3, 0])]));
      const at = begin - first * index!.block_bytes;
      const source = await readFile(join(receipt.path, 'source', entry.path));
      expect(tar.subarray(at, at + entry.size).equals(source), entry.path).toBe(true);
    }
    expect(index!.tar_bytes).toBe(gunzipSync(archive).length);
  });

  test.each<[string, SaveInput['files']]>([
    ['small', { a: 'a' }],
    ['of many kinds', FILES],
    // What ends a block is all over them.
    ['full of flushes', { a: Buffer.alloc(3_000_000, Buffer.from([0, 0, 255, 255])), b: 'b' }],
    ['that does not get smaller', { a: randomBytes(1_500_000), b: randomBytes(300_000) }],
    ['of one byte', { a: Buffer.alloc(5_000_000) }],
    ['of the length of its blocks', { a: Buffer.alloc(2 * 128 * 1024 * 8 - 3072, 'ab') }],
  ])('%s is found out again, where what is written down of it is lost', async (_, files) => {
    const storage = await openTestStorage();
    const receipt = await settled(storage, storage.save({ projectId: 'p', files }));
    const path = join(receipt.path, 'archive.json');
    const written = await readFile(path, 'utf8');
    await writeFile(path, '');
    const found = [];
    for await (const verified of storage.verify({ repair: true })) found.push(verified.repaired);
    expect(found).toEqual([true]);
    expect(await readFile(path, 'utf8')).toBe(written);
  });

  test('up to 1 MiB has none', async () => {
    const storage = await openTestStorage();
    const receipt = await settled(storage, storage.save({ projectId: 'p', files: { a: 'small' } }));
    expect((await readArchive(storage, receipt)).index).toBeNull();
  });

  test.each([
    ['of over 2 MiB, in blocks of 256 KiB', 'kysely/dist', 256],
    ['of less, in blocks of 128 KiB', 'hono/dist/cjs', 128],
  ])('%s costs at most 3 percent over one solid gzip', async (_case, path, kib) => {
    const storage = await openTestStorage();
    const folder = new URL(`../../node_modules/${path}`, import.meta.url).pathname;
    const receipt = await settled(storage, storage.saveFolder({ folder, projectId: 'p' }));
    const { archive, index } = await readArchive(storage, receipt);
    expect(index?.block_bytes ?? 128 * 1024).toBe(kib * 1024);
    const solid = gzipSync(gunzipSync(archive), { level: 6 });
    expect(archive.length / solid.length).toBeLessThan(1.03);
  });
});

async function readArchive(storage: Storage, receipt: Receipt) {
  const facts = JSON.parse(await readFile(join(receipt.path, 'archive.json'), 'utf8'));
  return {
    archive: await readFile(join(receipt.path, 'archive.tar.gz')),
    index: facts.block_index as BlockIndex | null,
    manifest: (await storage.get(receipt)).manifest,
  };
}

/** Bytes that do not compress, the same in every run. */
function randomBytes(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = 42;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}
