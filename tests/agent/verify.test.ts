/** `verify`: bit rot in store and cloud is found, and nothing is changed. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readConfig } from '../../node-agent/index.ts';
import { serviceClient, uniqueId } from '../support/cloud.ts';
import { hostEnvironment } from '../support/host.ts';
import { runCli } from '../support/run.ts';
import { openTestStorage, settled, waitForStatus } from '../support/storage.ts';
import { tempFolder, writeFiles } from '../support/temp.ts';
import { readTexts } from '../support/tree.ts';

async function host(count: number) {
  const env = await hostEnvironment();
  const { FILE_STORAGE_PATH: storePath, SUPABASE_BUCKET: bucket } = env;
  const projectId = uniqueId();
  const storage = await openTestStorage(readConfig(env));
  const saved = [];
  for (let i = 0; i < count; i++) {
    saved.push(await storage.save({ projectId, files: { 'a.txt': `${i}`, 'd/b.txt': 'b' } }));
  }
  for (const receipt of saved) {
    await waitForStatus(storage, receipt, 'verified');
    await storage.get(receipt);
  }
  await storage.close();
  const verify = async (...args: string[]) => {
    const ran = await runCli(['verify', '--json', ...args], env);
    return {
      ...ran,
      lines: ran.stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line)),
    };
  };
  return { bucket, storePath, projectId, saved, env, verify };
}

test('every byte is compared; what is damaged is named, in store and cloud', async () => {
  const { bucket, projectId, saved, verify, env } = await host(5);
  const sound = await verify();
  expect([sound.code, sound.stderr, sound.lines]).toEqual([
    0,
    '',
    [{ checked: 5, damaged: 0, repaired: 0, unproven: 0, after: `${projectId}/5` }],
  ]);
  const [one, two, three, four] = saved;
  // One bit, a file that is gone, an archive of other bytes, and one that is gone.
  writeFileSync(join(one!.path, 'source/a.txt'), '1');
  rmSync(join(two!.path, 'source/d/b.txt'));
  const objects = serviceClient().storage.from(bucket);
  const keyOf = (version: number, id: string) =>
    `${projectId}/generations/v${version}__${id}.tar.gz`;
  const other = { upsert: true, contentType: 'application/gzip' };
  await objects.upload(keyOf(3, three!.generationId), 'other bytes', other);
  await objects.remove([keyOf(4, four!.generationId)]);
  const before = readTexts(join(env.FILE_STORAGE_PATH, projectId));

  const damaged = await verify();
  expect([damaged.code, damaged.stderr]).toEqual([3, '']);
  expect(damaged.lines).toEqual([
    expect.objectContaining({
      version: 1,
      problems: [{ where: 'store', reason: '"source/a.txt" is not what it was' }],
    }),
    expect.objectContaining({
      version: 2,
      problems: [{ where: 'store', reason: '"source/d/b.txt" cannot be read: ENOENT' }],
    }),
    expect.objectContaining({
      version: 3,
      problems: [{ where: 'cloud', reason: 'the bucket holds other bytes than were recorded' }],
    }),
    expect.objectContaining({
      version: 4,
      problems: [{ where: 'cloud', reason: expect.stringContaining('is not in the bucket') }],
    }),
    { checked: 5, damaged: 4, repaired: 0, unproven: 0, after: `${projectId}/5` },
  ]);
  expect(readTexts(join(env.FILE_STORAGE_PATH, projectId))).toEqual(before);

  expect((await verify('--no-cloud')).lines.at(-1)).toMatchObject({ damaged: 2 });
  expect((await verify('--no-store')).lines.at(-1)).toMatchObject({ damaged: 2 });
  expect((await verify('--after', `${projectId}/3`)).lines.at(-1)).toMatchObject({
    checked: 2,
    damaged: 1,
  });
  const shown = await runCli(['verify', projectId], env);
  expect(shown.stdout).toContain(`${projectId} v1  store  "source/a.txt" is not what it was\n`);
  expect(shown.stdout).toMatch(/5 checked, 4 damaged\n$/);
});

test('a sample is some of them; what the Python system left has nothing to compare with', async () => {
  const storePath = await tempFolder();
  await writeFiles(storePath, { 'old/main.py': 'x' });
  let drawn = 0;
  const storage = await openTestStorage({ storePath, random: () => [0.4, 0.6][drawn++ % 2]! });
  for (let i = 0; i < 10; i++) await storage.save({ projectId: 'p', files: { a: `${i}` } });
  const versions: number[] = [];
  for await (const { version } of storage.verify({ sample: 0.5 })) versions.push(version);
  expect(versions).toEqual([1, 3, 5, 7, 9]);
});

test('an archive is read too; a manifest of a tree that is gone is damage', async () => {
  const storage = await openTestStorage();
  const receipt = await settled(storage, storage.save({ projectId: 'p', files: { a: '1' } }));
  await storage.get(receipt);
  const archive = join(receipt.path, 'archive.tar.gz');
  const bytes = readFileSync(archive);
  writeFileSync(
    archive,
    bytes.map((byte, i) => (i === 20 ? byte ^ 1 : byte)),
  );
  const problems = async () => {
    for await (const verified of storage.verify()) return verified.problems;
    return [];
  };
  expect(await problems()).toEqual([{ where: 'store', reason: 'the archive is another' }]);
  rmSync(join(receipt.path, 'manifest.json'));
  expect((await problems())[1]!.reason).toContain('manifest.json');
});

test.each([
  ['--sample', '0'],
  ['--sample', '101'],
  ['--after', 'shop'],
  ['--after', 'shop/x'],
])('%s %s is wrong usage', async (option, value) => {
  const ran = await runCli(['verify', option, value], { FILE_STORAGE_PATH: await tempFolder() });
  expect(ran.code).toBe(2);
});

test('a cloud that is away is no damage: it is said, and the exit code is 5', async () => {
  const { env } = await host(1);
  const ran = await runCli(['verify'], { ...env, SUPABASE_URL: 'http://127.0.0.1:9' });
  expect([ran.code, ran.stdout]).toEqual([5, '']);
});

describe('verify --repair', () => {
  /** Of the middle of a file. */
  function flip(path: string): void {
    const bytes = readFileSync(path);
    bytes[bytes.length >> 1]! ^= 1;
    writeFileSync(path, bytes);
  }
  type Harm = (path: string) => void;
  const tree: Harm = (path) => flip(join(path, 'source/a.txt'));
  const archive: Harm = (path) => flip(join(path, 'archive.tar.gz'));
  const noTree: Harm = (path) => {
    for (const name of ['tree.json', 'source', 'manifest.json']) {
      rmSync(join(path, name), { recursive: true });
    }
  };
  const noArchive: Harm = (path) => rmSync(join(path, 'archive.tar.gz'));
  const facts: Harm = (path) => writeFileSync(join(path, 'archive.json'), '');
  const liesInFacts: Harm = (path) => {
    const written = JSON.parse(readFileSync(join(path, 'archive.json'), 'utf8'));
    writeFileSync(join(path, 'archive.json'), JSON.stringify({ ...written, sha256: 'other' }));
  };
  const manifest: Harm = (path) => flip(join(path, 'manifest.json'));

  test.each<[string, Harm[], isMendedAlone: boolean]>([
    ['a tree', [tree], true],
    ['a manifest in a tree', [manifest], true],
    ['an archive', [archive], true],
    ['an archive that is gone', [noArchive], true],
    ['what is written down of an archive', [facts], true],
    ['what is written down of an archive, alone', [facts, noTree], true],
    ['a lie about an archive', [liesInFacts, noTree], true],
    ['an archive without a tree', [archive, noTree], false],
    ['both', [archive, tree], false],
  ])('makes %s whole, where something else has the bytes', async (_, harm, isMendedAlone) => {
    const { env, saved } = await host(1);
    const [receipt] = saved;
    const before = readTexts(join(receipt!.path, 'source'));
    for (const one of harm) one(receipt!.path);
    const config = readConfig(env);
    const repair = async (cloud: typeof config.cloud) => {
      const storage = await openTestStorage({ ...config, cloud, background: false });
      const found = [];
      for await (const verified of storage.verify({ repair: true })) found.push(verified);
      await storage.close();
      return found.map(({ problems, repaired }) => [problems.length > 0, repaired]);
    };
    expect(await repair(null)).toEqual([[true, isMendedAlone]]);
    expect(await repair(config.cloud)).toEqual([isMendedAlone ? [false, false] : [true, true]]);
    // Nothing is the matter any more, here or there.
    expect(await repair(config.cloud)).toEqual([[false, false]]);
    const storage = await openTestStorage({ ...config, cloud: null });
    expect(readTexts((await storage.get(receipt!)).sourcePath)).toEqual(before);
  });

  test('takes no archive of another generation for its own', async () => {
    const { env, saved } = await host(2);
    const config = { ...readConfig(env), cloud: null, background: false };
    const [one, two] = saved;
    for (const name of ['archive.tar.gz', 'archive.json']) {
      writeFileSync(join(two!.path, name), readFileSync(join(one!.path, name)));
    }
    const storage = await openTestStorage(config);
    const before = readTexts(join(two!.path, 'source'));
    for await (const _ of storage.verify({ repair: true }));
    noTree(two!.path);
    const got = await storage.get(two!).catch((error: { code: string }) => error.code);
    if (typeof got !== 'string') expect(readTexts(got.sourcePath)).toEqual(before);
    else expect(got).toBe('corrupt');
  });

  test('says what it cannot repair, and leaves it as it is', async () => {
    const storePath = await tempFolder();
    const storage = await openTestStorage({ storePath });
    const receipt = await settled(storage, storage.save({ projectId: 'p', files: { a: 'a' } }));
    archive(receipt.path);
    const before = readFileSync(join(receipt.path, 'archive.tar.gz'));
    const env = { FILE_STORAGE_PATH: storePath };
    const ran = await runCli(['verify', '--repair'], env);
    expect([ran.code, ran.stdout]).toEqual([3, expect.stringContaining('0 of them repaired')]);
    expect(readFileSync(join(receipt.path, 'archive.tar.gz'))).toEqual(before);
    const wrong = await runCli(['verify', '--repair', '--no-store'], env);
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining('--no-store')]);
  });
});
