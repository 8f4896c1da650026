import { expect, test } from 'vitest';
import { parseManifest } from '../../functions/_shared/contract/manifest.ts';

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

test('a manifest of the Python system is read, without the new fields', () => {
  expect(parseManifest(JSON.stringify(OLD), 'm')).toEqual(OLD);
});

test.each([
  ['not JSON', 'oops', 'm'],
  ['no version', JSON.stringify({ ...OLD, version: undefined }), 'version'],
  ['a hostile id', JSON.stringify({ ...OLD, project_id: '../x' }), 'project_id'],
  ['a schema of the future', JSON.stringify({ ...OLD, schema: 2 }), 'schema'],
  ['a hash that is none', JSON.stringify({ ...OLD, digest: 'abc' }), 'digest'],
])('a manifest with %s is corrupt', (_, text, named) => {
  expect(() => parseManifest(text, 'm')).toThrow(
    expect.objectContaining({ code: 'corrupt', message: expect.stringContaining(named) }),
  );
});
