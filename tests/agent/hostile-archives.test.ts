/** Archives that somebody made to do harm, or that are broken: from the cloud, and handed to a save. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { listPlainTar } from '../../node-agent/archive/plain-tar.ts';
import { DEFAULT_LIMITS, digestText, type ManifestEntry } from '../../node-agent/contract.ts';
import { openStorage, type Storage } from '../../node-agent/index.ts';
import { serviceClient, uniqueId } from '../support/cloud.ts';
import { putGeneration } from '../support/generation.ts';
import { openTestStorage, testCache, testCloud } from '../support/storage.ts';
import { makeTar, makeTarGz, paxPath, type Style, type TarEntry } from '../support/tar.ts';
import { tempFolder } from '../support/temp.ts';
import { listTree } from '../support/tree.ts';

const PROJECT = 'hostile';

const manifest = (files: string[]): TarEntry => ({
  name: '.codebegen/manifest.json',
  content: JSON.stringify({
    generation_id: 'g',
    project_id: PROJECT,
    version: 1,
    created_at: '2026-01-01T00:00:00Z',
    file_count: files.length,
    total_size_bytes: 1,
    files,
  }),
});
const file = (name: string, content: string | Buffer = 'x'): TarEntry => ({ name, content });

/** What is wrong with entries, each hostile in one way; and what goes before their names. */
const HOSTILE: [string, (under: string) => TarEntry[]][] = [
  ['climbs out', (under) => [file(`${under}../../../escaped`)]],
  ['climbs out in the middle', (under) => [file(`${under}a/../../../../escaped`)]],
  ['is absolute', () => [file('/tmp/escaped')]],
  ['has a drive', (under) => [file(`${under}C:/escaped`)]],
  ['has a backslash', (under) => [file(`${under}..\\..\\escaped`)]],
  ['has a control character', (under) => [file(`${under}a\u0001b`)]],
  ['climbs out by a pax header', (under) => [paxPath(`${under}../../escaped`), file('harmless')]],
  [
    'climbs out by a GNU long name',
    (under) => [
      { name: '././@LongLink', type: 'L', content: `${under}../../escaped\0` },
      file('harmless'),
    ],
  ],
  [
    'is a symbolic link out, and a file through it',
    (under) => [
      { name: `${under}link`, type: '2', linkName: '../../..' },
      file(`${under}link/escaped`),
    ],
  ],
  ['is a hard link', (under) => [{ name: `${under}link`, type: '1', linkName: '/etc/passwd' }]],
  ['is a character device', (under) => [{ name: `${under}null`, type: '3' }]],
  ['is a block device', (under) => [{ name: `${under}sda`, type: '4' }]],
  ['is a pipe', (under) => [{ name: `${under}pipe`, type: '6' }]],
  ['is there twice', (under) => [file(`${under}a`), file(`${under}a`, 'other')]],
  ['differs only in case', (under) => [file(`${under}readme`), file(`${under}README`)]],
  [
    'differs only in Unicode form',
    (under) => [file(`${under}caf\u00e9`), file(`${under}cafe\u0301`)],
  ],
  ['is a file and a folder', (under) => [file(`${under}a`), file(`${under}a/b`)]],
  ['is a folder and a file', (under) => [file(`${under}a/b`), file(`${under}a`)]],
  ['has a part that is too long', (under) => [paxPath(`${under}${'n'.repeat(256)}`), file('n')]],
];

/** Bytes that are no archive, or no whole one. */
const BROKEN: [string, (whole: Buffer) => Buffer][] = [
  ['garbage', () => randomBytes(5000)],
  [
    'garbage with the head of a gzip',
    () => Buffer.concat([Buffer.from('1f8b0800', 'hex'), randomBytes(5000)]),
  ],
  ['empty', () => Buffer.alloc(0)],
  ['cut off in the middle', (whole) => whole.subarray(0, whole.length >> 1)],
  ['cut off at the end', (whole) => whole.subarray(0, -4)],
  ['a gzip of garbage', () => gzipSync(randomBytes(5000))],
  ['a tar that is cut off', (whole) => gzipSync(gunzipSync(whole).subarray(0, 900))],
  ['with another checksum', (whole) => withFlippedByte(whole, whole.length - 6)],
  [
    'with a header that promises more than there is',
    () => makeTarGz([manifest(['a']), { name: 'a', content: 'x', size: 1e6 }]),
  ],
];

/** An archive that looks as if the agent had made it is read in another way than others are. */
describe.each<Style>(['ours', 'other'])('with headers as in those of %s,', (style) => {
  test.each(HOSTILE)(
    'an archive in the cloud with an entry that %s is refused',
    async (_, make) => {
      const named = manifest(make('').map(({ name }) => name));
      const ours = makeTarGz([named, ...make('')], style);
      await expectRefused(ours, ['corrupt', 'invalid_input']);
      const inWrapper = { ...named, name: 'v1__g/manifest.json' };
      const python = makeTarGz([inWrapper, ...make('v1__g/source/')], style);
      await expectRefused(python, ['corrupt', 'invalid_input']);
      // What was built from it passes the same checks.
      const built =
        style === 'ours'
          ? [manifest([]), ...make('.codebegen/artifacts/')]
          : [{ ...manifest([]), name: 'v1__g/manifest.json' }, ...make('v1__g/artifacts/')];
      await expectRefused(makeTarGz(built, style), ['corrupt', 'invalid_input']);
    },
  );

  test('an archive in the cloud with content that its manifest does not name is refused', async () => {
    const listed = { path: 'a', size: 1, sha256: '0'.repeat(64), mode: 0o644 };
    const { content } = manifest(['a']);
    const whole = { ...JSON.parse(String(content)), schema: 1, digest: '0'.repeat(64) };
    const named = {
      name: '.codebegen/manifest.json',
      content: JSON.stringify({ ...whole, entries: [listed], artifacts: [] }),
    };
    const error = await expectRefused(makeTarGz([named, file('a')], style), ['corrupt']);
    expect(error.message).toContain('"a" is not what the manifest says');
  });
});

/** What another host's archive says of itself, its bytes being those that were recorded. */
type Said = {
  files: string[];
  entries: ManifestEntry[];
  artifacts?: ManifestEntry[];
  digest: string;
};
const hash = (text: string) => createHash('sha256').update(text).digest('hex');
const entry = (path: string) => ({ path, size: 1, sha256: hash('x'), mode: 0o644 });
const LIES: [string, string, (said: Said) => Said][] = [
  ['names a file that climbs out', 'x', (said) => listing(said, '../../../escaped')],
  ['names one file twice', 'x', (said) => listing(said, 'A')],
  ['lists a file without a hash', 'x', (said) => ({ ...said, files: ['a', 'b'] })],
  ['lists another file in the place of one', 'x', (said) => twice(said)],
  ['names an artifact that climbs out', 'x', (said) => building(said, ['../../../escaped'])],
  ['names one artifact twice', 'x', (said) => building(said, ['b', 'B'])],
  [
    'names more artifacts than a generation may have',
    'x',
    (said) =>
      building(
        said,
        Array.from({ length: DEFAULT_LIMITS.files + 1 }, (_, i) => `f${i}`),
      ),
  ],
  ['has the digest of other files', 'x', (said) => ({ ...said, digest: hash('other') })],
  ['has other content than it says', 'y', (said) => said],
];

test.each(LIES)(
  'an archive whose hash is recorded and that %s is refused',
  async (_, content, lie) => {
    const digest = hash(digestText([entry('a')]));
    const said = lie({ files: ['a'], entries: [entry('a')], digest });
    const { name, content: text } = manifest(said.files);
    const whole = { ...JSON.parse(String(text)), schema: 1, artifacts: [], ...said };
    const files = [...new Set([...said.entries.map(({ path }) => path), ...said.files])];
    const built = (said.artifacts ?? []).map(({ path }) => `.codebegen/artifacts/${path}`);
    const inIt = [...files, ...built].map((path) => file(path, content));
    const archive = makeTarGz([{ name, content: JSON.stringify(whole) }, ...inIt], 'ours');
    const projectId = uniqueId();
    await putGeneration({ projectId, version: 1, ownerId: null, archive, digest: said.digest });
    const around = await tempFolder();
    const storage = await openTestStorage({
      cloud: testCloud('codebegen-projects'),
      cache: await testCache({ path: join(around, 'a/b/c/cache') }),
    });
    const ref = { projectId, version: 1 };
    for (const work of [
      () => storage.openFile(ref, said.files.at(-1)!).then((opened) => opened.close()),
      () => storage.open(ref, { isWhole: true }).then((opened) => opened.close()),
      () => storage.get(ref),
    ]) {
      const { code, message } = await rejection(work());
      expect(['corrupt', 'invalid_input', 'too_large'], message).toContain(code);
    }
    expect(listTree(around).filter((path) => path.includes('escaped'))).toEqual([]);
  },
);

function building({ files, entries }: Said, paths: string[]): Said {
  const artifacts = paths.map(entry);
  return { files, entries, artifacts, digest: hash(digestText(entries, artifacts)) };
}

/** Of two files one has a hash, twice. */
function twice({ entries }: Said): Said {
  const all = [...entries, ...entries];
  return { files: ['a', 'b'], entries: all, digest: hash(digestText(all)) };
}

function listing({ files, entries }: Said, path: string): Said {
  const all = [...entries, entry(path)];
  return { files: [...files, path], entries: all, digest: hash(digestText(all)) };
}

test('headers as in archives of ours are those of archives of ours', () => {
  const entries = [manifest(['a']), file('a')];
  expect(listPlainTar(makeTar(entries, 'ours'))).toHaveLength(2);
  expect(listPlainTar(makeTar(entries, 'other'))).toBeNull();
});

test.each(BROKEN)('an archive in the cloud that is %s is refused', async (_, spoil) => {
  const whole = makeTarGz([manifest(['a']), file('a', randomBytes(3000))]);
  await expectRefused(spoil(whole), ['corrupt']);
});

test.each<[string, TarEntry[], string]>([
  ['has no manifest', [file('a')], '.codebegen/manifest.json'],
  ['has its manifest behind a file', [file('a'), manifest(['a'])], '.codebegen/manifest.json'],
  ['has two manifests', [manifest(['a']), manifest(['a']), file('a')], 'manifest.json'],
  [
    'has a manifest that is none',
    [file('.codebegen/manifest.json', '{'), file('a')],
    'manifest.json',
  ],
  ['lacks a file of the manifest', [manifest(['a', 'b']), file('a')], '"b"'],
  ['holds more beside its manifest', [manifest([]), file('.codebegen/x')], '.codebegen/x'],
  ['holds it in other letters', [manifest([]), file('.CodeBegen/artifacts/x')], '.CodeBegen'],
  ['of the Python system has no manifest', [file('v1__g/source/a')], 'manifest.json'],
  [
    'of the Python system holds what belongs to no generation',
    [{ ...manifest([]), name: 'v1__g/manifest.json' }, file('v1__g/x')],
    'v1__g/x',
  ],
  [
    'has a folder beside its wrapper',
    [{ ...manifest(['a']), name: 'v1__g/manifest.json' }, file('else/a')],
    'else/a',
  ],
])('an archive in the cloud that %s is refused', async (_, entries, named) => {
  const error = await expectRefused(makeTarGz(entries), ['corrupt', 'invalid_input']);
  expect(error.message).toContain(named);
});

test('a bomb is refused before it goes off', async () => {
  const bomb = makeTarGz([manifest(['zeros']), file('zeros', Buffer.alloc(150_000_000))]);
  expect(bomb.length).toBeLessThan(300_000);
  const error = await expectRefused(bomb, ['corrupt']);
  expect(error.message).toContain('times its size');
});

test.each(HOSTILE)('a tar that is saved with an entry that %s is refused', async (_, make) => {
  await expectNotSaved(makeTar(make('')), 'invalid_input');
});

test.each(BROKEN.filter(([name]) => name !== 'empty'))(
  'a tar that is saved and is %s is refused',
  async (_, spoil) => {
    const whole = makeTarGz([file('source/a', randomBytes(3000))]);
    await expectNotSaved(spoil(whole), 'corrupt');
  },
);

/** A host on a bucket of its own, into which one archive after another is put. */
const host = {
  bucket: uniqueId('bucket'),
  around: '',
  storage: null as Storage | null,
};

beforeAll(async () => {
  host.around = mkdtempSync(join(tmpdir(), 'codebegen-test-'));
  const cachePath = join(host.around, 'a/b/c/cache');
  mkdirSync(cachePath, { recursive: true });
  await serviceClient().storage.createBucket(host.bucket, { public: false });
  const storePath = join(host.around, 'a/b/c/store');
  const [hour, cloud] = [3_600_000, testCloud(host.bucket)];
  const cache = { path: cachePath, ttlMs: hour, maxAgeMs: hour, maxBytes: 1e9 };
  host.storage = await openStorage({
    ...{ storePath, cloud, cache, cleanupEveryMs: null },
    uploadConcurrency: 4,
  });
});

afterAll(async () => {
  await host.storage?.close({ drainMs: 0 });
  rmSync(host.around, { recursive: true });
});

/** Gets it from the cloud: an error of ours, nothing outside, nothing left in the cache. */
async function expectRefused(archive: Buffer, codes: string[]) {
  const objects = serviceClient().storage.from(host.bucket);
  const key = `${PROJECT}/generations/v1__g.tar.gz`;
  expect((await objects.upload(key, archive, { upsert: true })).error).toBeNull();
  const error = await rejection(host.storage!.get({ projectId: PROJECT, version: 1 }));
  expect(codes, error.message).toContain(error.code);
  // But for what the host keeps of itself.
  const own = /^a(\/b(\/c(\/(cache|store)(\/\.codebegen-storage(\/.*)?)?)?)?)?$/;
  expect(listTree(host.around).filter((path) => !own.test(path))).toEqual([]);
  const staging = 'a/b/c/cache/.codebegen-storage/staging';
  expect(listTree(join(host.around, staging)).filter((path) => path.includes('/'))).toEqual([]);
  expect(readdirSync('/tmp')).not.toContain('escaped');
  return error;
}

async function expectNotSaved(tar: Buffer, code: string) {
  const around = await tempFolder();
  const storage = await openTestStorage({
    storePath: join(around, 'a/b/store'),
    background: false,
  });
  // But for the empty folder in which it would have been staged.
  const list = () => listTree(around).filter((name) => !/staging\/[^/]+$/.test(name));
  const before = list();
  const error = await rejection(
    storage.saveTar({
      projectId: PROJECT,
      tar: (async function* () {
        yield tar;
      })(),
    }),
  );
  expect(error.code, error.message).toBe(code);
  expect(list()).toEqual(before);
  expect((await storage.list(PROJECT)).items).toEqual([]);
}

async function rejection(promise: Promise<unknown>): Promise<{ code: string; message: string }> {
  return promise.then(
    () => {
      throw new Error('It was taken');
    },
    (error: { code: string; message: string }) => error,
  );
}

function withFlippedByte(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at]! ^= 0xff;
  return copy;
}
