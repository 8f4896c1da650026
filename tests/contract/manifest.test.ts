import { expect, test } from 'vitest';
import { isComplete, parseManifest } from '../../functions/_shared/contract/manifest.ts';

const OLD = {
  generation_id: 'gen-456',
  project_id: 'abc-123',
  version: 3,
  created_at: '2024-05-01T10:00:00',
  file_count: 1,
  total_size_bytes: 5,
  files: ['main.py'],
  metadata: { prompt: 'a shop' },
};

const HASH = 'ab'.repeat(32);
const ENTRY = { path: 'main.py', size: 5, sha256: HASH, mode: 0o644 };
const OURS = {
  ...OLD,
  owner_id: '3f0e1c52-93b5-4d0f-8f6a-0d3c3f5a1b11',
  schema: 1,
  digest: HASH,
  entries: [ENTRY, { ...ENTRY, path: 'run.sh', mode: 0o777, size: 0 }],
  artifacts: [],
};

test('one of ours is read whole, also without metadata', () => {
  expect(parseManifest(JSON.stringify(OURS), 'm')).toEqual(OURS);
  const { metadata: _, ...without } = OURS;
  expect(parseManifest(JSON.stringify(without), 'm')).toEqual({ ...OURS, metadata: {} });
  const replaced = { ...OURS, replacement: true };
  expect(parseManifest(JSON.stringify(replaced), 'm')).toEqual(replaced);
});

test('complete is what has every field that the Python system lacked', () => {
  const manifest = parseManifest(JSON.stringify(OURS), 'm');
  expect(isComplete(manifest)).toBe(true);
  expect(isComplete(parseManifest(JSON.stringify(OLD), 'm'))).toBe(false);
  for (const field of ['schema', 'digest', 'entries', 'artifacts']) {
    expect(isComplete({ ...manifest, [field]: undefined }), field).toBe(false);
  }
});

test('why it is no JSON goes along', () => {
  const reason = expect.objectContaining({ cause: expect.any(SyntaxError) });
  expect(() => parseManifest('{', 'm')).toThrow(reason);
});

test('a manifest of the Python system is read, without the new fields', () => {
  expect(parseManifest(JSON.stringify(OLD), 'm')).toEqual(OLD);
});

test.each([
  ['not JSON', 'oops', 'm'],
  ['no version', JSON.stringify({ ...OLD, version: undefined }), 'version'],
  ['a hostile id', JSON.stringify({ ...OLD, project_id: '../x' }), 'project_id'],
  ['a schema of the future', JSON.stringify({ ...OLD, schema: 2 }), 'schema'],
  ['a hash that is none', JSON.stringify({ ...OLD, digest: 'abc' }), 'digest'],
  ['a hash of one digit', JSON.stringify({ ...OLD, digest: 'a' }), 'digest'],
  ['a hash that is too long', JSON.stringify({ ...OLD, digest: `${HASH}0` }), 'digest'],
  ['a hash with something before it', JSON.stringify({ ...OLD, digest: `x${HASH}` }), 'digest'],
  ['a hash in upper case', JSON.stringify({ ...OLD, digest: HASH.toUpperCase() }), 'digest'],
  ['metadata that is a list', JSON.stringify({ ...OLD, metadata: [] }), 'metadata'],
  ['metadata that is null', JSON.stringify({ ...OLD, metadata: null }), 'metadata'],
  ['metadata that is a text', JSON.stringify({ ...OLD, metadata: 'x' }), 'metadata'],
  ['version 0', JSON.stringify({ ...OLD, version: 0 }), 'version'],
  ['a version that is too large', JSON.stringify({ ...OLD, version: 2 ** 31 }), 'version'],
  ['a size below zero', JSON.stringify({ ...OLD, total_size_bytes: -1 }), 'total_size_bytes'],
  ['a count that is no whole number', JSON.stringify({ ...OLD, file_count: 1.5 }), 'file_count'],
  ['a replacement that is none', JSON.stringify({ ...OLD, replacement: false }), 'replacement'],
  [
    'a mode that is more',
    JSON.stringify({ ...OURS, entries: [{ ...ENTRY, mode: 0o1000 }] }),
    'mode',
  ],
  ['a mode below zero', JSON.stringify({ ...OURS, artifacts: [{ ...ENTRY, mode: -1 }] }), 'mode'],
  [
    'an entry without a path',
    JSON.stringify({ ...OURS, entries: [{ size: 1 }] }),
    'entries.0.path',
  ],
  ['no object in it', '7', 'manifest'],
])('a manifest with %s is corrupt', (_, text, named) => {
  expect(() => parseManifest(text, 'm')).toThrow(
    expect.objectContaining({ code: 'corrupt', message: expect.stringContaining(named) }),
  );
});
