/** Paths that this host signs: good for one generation, until they expire, by one key. */
import { randomBytes } from 'node:crypto';
import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { archivePath, PathSigner } from '../../node-agent/read/signed-path.ts';
import { tempFolder } from '../support/temp.ts';

const REF = { projectId: 'p', version: 2, generationId: 'g' };
const EXPIRES = 1_800_000_000;

async function makeSigner(before: Buffer | null = null) {
  const folder = await tempFolder();
  const file = join(folder, 'url-key');
  if (before !== null) writeFileSync(file, before);
  const problems: unknown[] = [];
  const open = () => new PathSigner(file, (problem) => problems.push(problem));
  return { signer: open(), open, file, folder, problems };
}

function signatureOf(signer: PathSigner, ref = REF, expires = EXPIRES): string {
  return new URL(signer.sign(ref, expires), 'http://x').searchParams.get('signature')!;
}

test('a signed path names generation, end and signature', async () => {
  const { signer } = await makeSigner();
  const url = new URL(signer.sign(REF, EXPIRES), 'http://x');
  expect(url.pathname).toBe('/v1/projects/p/2/archive.tar.gz');
  expect(archivePath(REF)).toBe(url.pathname);
  expect(Object.fromEntries(url.searchParams)).toEqual({
    generation: 'g',
    expires: String(EXPIRES),
    signature: expect.stringMatching(/^[\w-]{43}$/),
  });
});

test('a signature is good until it ends, to the millisecond', async () => {
  const { signer } = await makeSigner();
  const signature = signatureOf(signer);
  const isGood = (now: number) => signer.isGood(REF, EXPIRES, signature, now);
  expect([0, EXPIRES * 1000 - 1, EXPIRES * 1000, EXPIRES * 1000 + 1].map(isGood)).toEqual([
    true,
    true,
    false,
    false,
  ]);
});

test('a signature is of one generation and one end, and whole', async () => {
  const { signer } = await makeSigner();
  const signature = signatureOf(signer);
  for (const other of [{ projectId: 'q' }, { version: 3 }, { generationId: 'h' }]) {
    expect(signer.isGood({ ...REF, ...other }, EXPIRES, signature, 0)).toBe(false);
  }
  expect(signer.isGood(REF, EXPIRES + 1, signature, 0)).toBe(false);
  const flipped = `${signature.slice(0, -2)}${signature.endsWith('AA') ? 'BB' : 'AA'}`;
  for (const other of ['', signature.slice(0, -1), `${signature}x`, flipped, 'é'.repeat(43)]) {
    expect(signer.isGood(REF, EXPIRES, other, 0), other).toBe(false);
  }
});

test('the key lasts, for its owner’s eyes alone, and is another on another host', async () => {
  const { signer, open, file, folder, problems } = await makeSigner();
  expect(open().isGood(REF, EXPIRES, signatureOf(signer), 0)).toBe(true);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readFileSync(file)).toHaveLength(32);
  expect(readdirSync(folder)).toEqual(['url-key']);
  const elsewhere = await makeSigner();
  expect(elsewhere.signer.isGood(REF, EXPIRES, signatureOf(signer), 0)).toBe(false);
  expect(problems).toEqual([]);
});

test.each([0, 1, 31, 33])(
  'a key of %i bytes is none: it is made anew, and that is said',
  async (bytes) => {
    const { signer, open, file, folder, problems } = await makeSigner(randomBytes(bytes));
    expect(readFileSync(file)).toHaveLength(32);
    expect(readdirSync(folder)).toEqual(['url-key']);
    expect(problems).toEqual([
      expect.objectContaining({ code: 'corrupt', message: expect.stringContaining(file) }),
    ]);
    expect(open().isGood(REF, EXPIRES, signatureOf(signer), 0)).toBe(true);
    expect(problems).toHaveLength(1);
  },
);

test('a key that is there is used as it is', async () => {
  const key = randomBytes(32);
  const [a, b] = [await makeSigner(key), await makeSigner(key)];
  expect(a.signer.isGood(REF, EXPIRES, signatureOf(b.signer), 0)).toBe(true);
  expect(a.problems).toEqual([]);
});

test('a key that cannot be read, or made, is an error, and nothing is left', async () => {
  const folder = await tempFolder();
  expect(() => new PathSigner(join(folder, 'none', 'url-key'), () => {})).toThrow('ENOENT');
  const { open, file } = await makeSigner(null);
  chmodSync(file, 0o600);
  expect(() => new PathSigner(join(file, 'x'), () => {})).toThrow('ENOTDIR');
  expect(open()).toBeDefined();
});
