/** The files of a generation, out of its archive: the tree, and one file. */
import { createHash, randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { beforeAll, describe, expect, inject, test } from 'vitest';
import { EDGE_LIMITS } from '../../functions/_shared/contract/limits.ts';
import { makeUser, serviceClient, type TestUser, uniqueId } from '../support/cloud.ts';
import { asUser, type Call, callInProcess, WAYS } from '../support/edge.ts';
import { first, startFaultProxy } from '../support/fault-proxy.ts';
import { putGeneration, saveToCloud } from '../support/generation.ts';
import { makeTar, makeTarGz, type TarEntry } from '../support/tar.ts';

const BLOCK = 128 * 1024;
const png = Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex');

/** Names and contents that have bitten somebody. */
const FILES: Record<string, string | Buffer> = {
  'app/main.py': 'print("hello")\n',
  'app/empty.py': '',
  'README.md': '# Käse\n',
  '100%.txt': 'percent\n',
  'a%2Fb.txt': 'no slash\n',
  '#tag?query=1&x.txt': 'reserved\n',
  'with space + plus.txt': 'space\n',
  'Käse/ß/日本.txt': 'unicode\n',
  '-leading': 'dash\n',
  'archive.zip': 'not the route\n',
  'page.html': '<script>alert(1)</script>',
  'page.xhtml': '<html xmlns="http://www.w3.org/1999/xhtml"/>',
  'data.xml': '<a/>',
  'logo.svg': '<svg xmlns="http://www.w3.org/2000/svg"/>',
  'logo.png': png,
  'trick.html': png,
  'main.ts': 'export const x = 1;\n',
  'main.js': 'const x = 1;\n',
  'style.css': 'a { color: red }\n',
  'data.json': '{}\n',
  'data.bin': Buffer.from([0, 1, 2, 255]),
  'latin1.txt': Buffer.from([0x4b, 0xe4]),
};

const urlOf = (base: string, path: string) =>
  `${base}/files/${path.split('/').map(encodeURIComponent).join('/')}`;
const sha256 = (bytes: string | Buffer) => createHash('sha256').update(bytes).digest('hex');

let owner: TestUser;
let small: string;
let large: string;
const largeFiles: Record<string, Buffer> = {};

beforeAll(async () => {
  owner = await makeUser();
  const project = uniqueId();
  await saveToCloud({
    projectId: project,
    ownerId: owner.id,
    files: Object.fromEntries(
      Object.entries(FILES).map(([path, content]) => [
        path,
        path === '-leading' ? { content, mode: 0o755 } : content,
      ]),
    ),
  });
  small = `/projects/${project}/1`;
  // 20 MB that do not compress, so that its archive has a block index and some 160 blocks.
  for (let i = 0; i < 39; i++) largeFiles[`data/${i}.bin`] = randomBytes(512 * 1024);
  largeFiles['data/tiny.bin'] = randomBytes(100);
  largeFiles['data/zero.bin'] = Buffer.alloc(0);
  largeFiles['data/edge.bin'] = randomBytes(BLOCK);
  await saveToCloud({ projectId: project, version: 2, ownerId: owner.id, files: largeFiles });
  large = `/projects/${project}/2`;
});

describe.each(WAYS)('%s', (_, makeCall) => {
  let call: Call;
  let get: (path: string, headers?: Record<string, string>) => Promise<Response>;
  beforeAll(() => {
    call = makeCall();
    get = (path, headers) =>
      call('GET', path, { headers: { authorization: `Bearer ${owner.token}`, ...headers } });
  });

  test('the tree has every file with size, hash and mode, sorted', async () => {
    const page = await (await get(`${small}/files`)).json();
    expect(page.next_cursor).toBeNull();
    const paths = Object.keys(FILES).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    expect(page.items).toEqual(
      paths.map((path) => ({
        path,
        size: Buffer.byteLength(FILES[path]!),
        sha256: sha256(FILES[path]!),
        mode: path === '-leading' ? 0o755 : 0o644,
      })),
    );
  });

  test('the tree pages by path', async () => {
    const seen: string[] = [];
    let query = '?limit=5';
    for (;;) {
      const page = await (await get(`${small}/files${query}`)).json();
      expect(page.items.length).toBeLessThanOrEqual(5);
      seen.push(...page.items.map((item: { path: string }) => item.path));
      if (page.next_cursor === null) break;
      query = `?limit=5&cursor=${encodeURIComponent(page.next_cursor)}`;
    }
    expect(seen).toHaveLength(Object.keys(FILES).length);
    expect(new Set(seen).size).toBe(seen.length);
  });

  test.each(Object.keys(FILES))('one file, whatever its name: %s', async (path) => {
    const answer = await get(urlOf(small, path));
    expect(answer.status).toBe(200);
    const bytes = Buffer.from(await answer.arrayBuffer());
    expect(bytes).toEqual(Buffer.from(FILES[path]!));
    expect(answer.headers.get('etag')).toBe(`"${sha256(bytes)}"`);
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
    expect(answer.headers.get('content-security-policy')).toContain('sandbox');
    expect(answer.headers.get('content-type')).not.toMatch(/html|[/]xml/);
  });

  test.each([
    ['page.html', 'text/plain; charset=utf-8'],
    ['page.xhtml', 'text/plain; charset=utf-8'],
    ['data.xml', 'text/plain; charset=utf-8'],
    ['trick.html', 'application/octet-stream'],
    ['main.ts', 'text/plain; charset=utf-8'],
    ['main.js', 'text/javascript; charset=utf-8'],
    ['style.css', 'text/css; charset=utf-8'],
    ['data.json', 'application/json; charset=utf-8'],
    ['logo.svg', 'image/svg+xml; charset=utf-8'],
    ['logo.png', 'image/png'],
    ['data.bin', 'application/octet-stream'],
    ['latin1.txt', 'application/octet-stream'],
    ['app/main.py', 'text/plain; charset=utf-8'],
  ])('%s is served as %s', async (path, type) => {
    expect((await get(urlOf(small, path))).headers.get('content-type')).toBe(type);
  });

  test('what the browser has is not sent again', async () => {
    const path = urlOf(small, 'app/main.py');
    const etag = (await get(path)).headers.get('etag')!;
    for (const tags of [etag, `W/${etag}`, `"x", ${etag}`, '*']) {
      const answer = await get(path, { 'if-none-match': tags });
      expect([answer.status, await answer.text()], tags).toEqual([304, '']);
      expect(answer.headers.get('etag')).toBe(etag);
    }
    expect((await get(path, { 'if-none-match': '"x"' })).status).toBe(200);
  });

  test('HEAD has the headers and no body', async () => {
    const answer = await call('HEAD', urlOf(small, 'logo.png'), {
      headers: { authorization: `Bearer ${owner.token}` },
    });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toBe('image/png');
    expect(await answer.text()).toBe('');
  });

  test('files of an archive with an index, at the edges of blocks and of the archive', async () => {
    for (const path of ['tiny', 'zero', 'edge', '0', '38', '17']) {
      const name = `data/${path}.bin`;
      const answer = await get(urlOf(large, name));
      expect(answer.status, name).toBe(200);
      const bytes = Buffer.from(await answer.arrayBuffer());
      expect(bytes.equals(largeFiles[name]!), name).toBe(true);
    }
  });

  test.each([
    ['nothing there', 'nothing.txt', 404, 'nothing.txt'],
    ['a folder', 'app', 404, 'app'],
    ['a part ".."', 'a/%2e%2e%2fb', 400, 'path'],
    ['an encoded slash at the begin', '%2Fetc', 400, 'path'],
    ['a backslash', 'a%5Cb', 400, 'path'],
    ['a control character', 'a%00b', 400, 'path'],
    ['a path that is too long', `${'a/'.repeat(600)}b`, 400, 'path'],
    ['a part that is too long', 'a'.repeat(300), 400, 'path'],
    ['a broken escape', '%E0%A4', 404, ''],
  ])('%s is refused, and named', async (_case, path, status, named) => {
    const answer = await get(`${small}/files/${path}`);
    expect(answer.status).toBe(status);
    expect((await answer.json()).detail).toContain(named);
  });

  test.each([
    ['limit=5001', 'limit'],
    ['cursor=..%2Fx', 'cursor'],
    ['folder=secret', 'folder'],
  ])('a tree with %s is 400', async (query, field) => {
    const answer = await get(`${small}/files?${query}`);
    expect(answer.status).toBe(400);
    expect((await answer.json()).detail).toContain(field);
  });

  test('a generation that is not uploaded has no files yet', async () => {
    const projectId = uniqueId();
    await putGeneration({ projectId, version: 1, ownerId: owner.id, status: 'pending' });
    for (const path of ['files', 'files/a', 'archive.zip']) {
      expect((await get(`/projects/${projectId}/1/${path}`)).status, path).toBe(409);
    }
  });

  describe('an archive of the Python system, without hashes and index', () => {
    let project: string;
    let version = 0;
    const put = async (archive: Buffer) => {
      version++;
      await putGeneration({ projectId: project, version, ownerId: owner.id, archive });
      return `/projects/${project}/${version}`;
    };
    const wrapped = (files: TarEntry[]): TarEntry[] => {
      const folder = 'v1__gen-1';
      const manifest = JSON.stringify({ generation_id: 'gen-1', files: [] });
      return [
        { name: `${folder}/`, type: '5' },
        { name: `${folder}/manifest.json`, content: manifest },
        ...files.map((file) => ({ ...file, name: `${folder}/${file.name}` })),
      ];
    };
    beforeAll(() => {
      project = uniqueId();
    });

    test('is read whole: the tree, and a file', async () => {
      const files = [
        { name: 'source/b.py', content: 'b' },
        { name: 'source/a.py', content: 'a' },
        { name: 'artifacts/log', content: 'l' },
      ];
      const base = await put(makeTarGz(wrapped(files)));
      const page = await (await get(`${base}/files?limit=1`)).json();
      expect(page).toEqual({
        items: [{ path: 'a.py', size: 1, sha256: sha256('a'), mode: 0o644 }],
        next_cursor: 'a.py',
      });
      const next = await (await get(`${base}/files?limit=1&cursor=a.py`)).json();
      expect(next.items).toMatchObject([{ path: 'b.py' }]);
      const answer = await get(`${base}/files/b.py`);
      expect(await answer.text()).toBe('b');
      const etag = answer.headers.get('etag')!;
      expect(etag).toBe(`"${sha256('b')}"`);
      expect((await get(`${base}/files/b.py`, { 'if-none-match': etag })).status).toBe(304);
      expect((await get(`${base}/files/c.py`)).status).toBe(404);
      expect((await get(`${base}/files/log`)).status).toBe(404);
      expect(await (await get(`${base}/files/log?folder=artifacts`)).text()).toBe('l');
      const artifacts = await (await get(`${base}/files?folder=artifacts`)).json();
      expect(artifacts.items).toMatchObject([{ path: 'log', size: 1 }]);
    });

    /** Of what is one, and hostile further on, a zip breaks off there. */
    const NO_ARCHIVE = new Set(['is no gzip', 'ends too early', 'is no tar']);
    test.each<[string, number, () => Buffer]>([
      ['is no gzip', 422, () => Buffer.from('not gzip')],
      [
        'ends too early',
        422,
        () => makeTarGz(wrapped([{ name: 'source/a', content: 'a' }])).subarray(0, 80),
      ],
      ['is no tar', 422, () => gzipSync('x'.repeat(2000))],
      ['leads out of its folder', 422, () => makeTarGz(wrapped([{ name: 'source/../../a' }]))],
      [
        'lies beside its folder',
        422,
        () => makeTarGz([...wrapped([]), { name: 'v2__x/source/a' }]),
      ],
      [
        'holds two names that are one elsewhere',
        422,
        () => makeTarGz(wrapped([{ name: 'source/README' }, { name: 'source/readme' }])),
      ],
      [
        'has too many files',
        413,
        () => makeTarGz(wrapped(Array.from({ length: 5001 }, (_, i) => ({ name: `source/${i}` })))),
      ],
      [
        'holds a link',
        422,
        () => makeTarGz(wrapped([{ name: 'source/a', type: '2', linkName: '/etc' }])),
      ],
      [
        'is a bomb',
        413,
        () =>
          gzipSync(
            makeTar(
              wrapped([{ name: 'source/a', content: Buffer.alloc(EDGE_LIMITS.contentBytes + 1) }]),
            ),
          ),
      ],
      [
        'is over the limit',
        413,
        () =>
          makeTarGz(
            wrapped([{ name: 'source/a', content: randomBytes(EDGE_LIMITS.archiveBytes + 1) }]),
          ),
      ],
    ])('is refused where it %s: %i', async (kind, status, make) => {
      const base = await put(make());
      const paths = ['files', 'files/a', ...(NO_ARCHIVE.has(kind) ? ['archive.zip'] : [])];
      for (const path of paths) {
        const answer = await get(`${base}/${path}`);
        const problem = await answer.json();
        expect([answer.status, problem.status], problem.detail).toEqual([status, status]);
      }
    });
  });
});

test('a file over the limit is refused with the URL of the tar.gz, which has it', async () => {
  const projectId = uniqueId();
  const bytes = randomBytes(EDGE_LIMITS.fileBytes + 1);
  const receipt = await saveToCloud({
    projectId,
    ownerId: owner.id,
    files: { big: bytes, a: 'a' },
  });
  const get = asUser(callInProcess(), owner);
  const answer = await get('GET', `/projects/${projectId}/1/files/big`);
  expect(answer.status).toBe(413);
  const problem = await answer.json();
  expect(problem).toMatchObject({ code: 'too_large', detail: expect.stringContaining('"big"') });
  const archive = await (await fetch(problem.download_url)).arrayBuffer();
  expect(sha256(Buffer.from(archive))).toBe(receipt.sha256);
  expect((await get('GET', `/projects/${projectId}/1/files/a`)).status).toBe(200);
});

test('a file costs one query and one Range request of at most two blocks more', async () => {
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const get = asUser(callInProcess({ SUPABASE_URL: proxy.url }), owner);
  for (const [path, content] of Object.entries(largeFiles)) {
    proxy.seen = [];
    const answer = await get('GET', urlOf(large, path));
    expect(answer.status).toBe(200);
    await answer.arrayBuffer();
    const queries = proxy.seen.filter((request) => request.includes('/rest/'));
    const reads = proxy.seen.filter((request) => request.includes('/storage/'));
    expect([queries.length, reads.length], path).toEqual([1, content.length === 0 ? 0 : 1]);
  }
  for (const path of ['data/tiny.bin', 'data/edge.bin', 'data/17.bin']) {
    proxy.answeredBytes = 0;
    await (await get('GET', urlOf(large, path))).arrayBuffer();
    expect(proxy.answeredBytes).toBeLessThan(largeFiles[path]!.length + 2 * BLOCK + 4096);
    expect(proxy.answeredBytes).toBeGreaterThanOrEqual(largeFiles[path]!.length);
  }
});

test('an archive that is not there at first is asked for once more: it may have been replaced', async () => {
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const as = asUser(callInProcess({ SUPABASE_URL: proxy.url }), owner);
  const missing = { statusCode: '404', error: 'not_found', message: 'Object not found' };
  for (const path of [
    urlOf(small, 'app/main.py'),
    urlOf(large, 'data/1.bin'),
    `${small}/archive.zip`,
  ]) {
    proxy.rule = first(1, /object\/authenticated/, { kind: 'answer', status: 400, body: missing });
    const answer = await as('GET', path);
    expect(answer.status, path).toBe(200);
    await answer.arrayBuffer();
  }
});

test('an archive that is shorter than it was is corrupt', async () => {
  const projectId = uniqueId();
  await saveToCloud({ projectId, ownerId: owner.id, files: { a: randomBytes(2_000_000), z: 'z' } });
  const { data } = await serviceClient()
    .from('storage_generations')
    .select('bucket, object_key')
    .eq('project_id', projectId)
    .single();
  const archive = randomBytes(100);
  const bucket = serviceClient().storage.from(data!.bucket);
  expect((await bucket.upload(data!.object_key, archive, { upsert: true })).error).toBeNull();
  const get = asUser(callInProcess(), owner);
  for (const path of ['a', 'z']) {
    const answer = await get('GET', `/projects/${projectId}/1/files/${path}`);
    expect([answer.status, (await answer.json()).code], path).toEqual([422, 'corrupt']);
  }
});

test('bytes that are not what the manifest says are not served', async () => {
  const projectId = uniqueId();
  const files = { a: randomBytes(1024 * 1024), b: 'b' };
  await saveToCloud({ projectId, ownerId: owner.id, files });
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const get = asUser(callInProcess({ SUPABASE_URL: proxy.url }), owner);
  proxy.rule = (_, path) => (path.includes('/storage/') ? { kind: 'flip', at: 500_000 } : null);
  const answer = await get('GET', `/projects/${projectId}/1/files/a`);
  expect([answer.status, (await answer.json()).code]).toEqual([422, 'corrupt']);
});

test('storage that is away, slow or cut is unavailable, and an archive that is gone not found', async () => {
  const projectId = uniqueId();
  const { bucket, key } = await putGeneration({
    projectId,
    version: 1,
    ownerId: owner.id,
    archive: makeTarGz([{ name: 'v1__gen-1/source/a', content: randomBytes(200_000) }]),
  });
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const get = asUser(callInProcess({ SUPABASE_URL: proxy.url }), owner);
  const path = `/projects/${projectId}/1/files/a`;
  for (const fault of [
    { kind: 'down' },
    { kind: 'answer', status: 500 },
    { kind: 'truncate', afterBytes: 1000 },
  ] as const) {
    proxy.rule = (_, url) => (url.includes('/storage/') ? fault : null);
    const answer = await get('GET', path);
    expect([answer.status, (await answer.json()).code], fault.kind).toEqual([503, 'unavailable']);
  }
  proxy.rule = () => null;
  await serviceClient().storage.from(bucket).remove([key]);
  expect((await get('GET', path)).status).toBe(404);
});

test.each<[string, object]>([
  ['lists no files but a text', { entries: 'x' }],
  ['lists what is no file', { entries: [1] }],
  ['lists a file without a name', { entries: [{ size: 1, sha256: 'x', mode: 420 }] }],
  ['has a size that is none', { entries: [{ path: 'a', size: 'x', sha256: 'x', mode: 420 }] }],
  ['has a negative size', { entries: [{ path: 'a', size: -1, sha256: sha256('a'), mode: 420 }] }],
  ['has a hash that is none', { entries: [{ path: 'a', size: 1, sha256: 'x', mode: 420 }] }],
  ['names a file above', { entries: [{ path: '../a', size: 1, sha256: sha256('a'), mode: 420 }] }],
])('a manifest in the database that %s is corrupt', async (_, manifest) => {
  const user = await makeUser();
  const projectId = uniqueId();
  await saveToCloud({ projectId, version: 1, ownerId: user.id, files: { a: 'a' } });
  const rows = serviceClient().from('storage_manifests').update({ manifest });
  expect((await rows.eq('project_id', projectId)).error).toBeNull();
  const as = asUser(callInProcess(), user);
  const answer = await as('GET', `/projects/${projectId}/1/files`);
  expect([answer.status, (await answer.json()).code]).toEqual([422, 'corrupt']);
});

test.each<[string, object]>([
  ['blocks that are none', { blocks: 'x' }],
  ['no size of a block', { block_bytes: 0 }],
  ['blocks that end before they begin', { blocks: [200, 10] }],
  ['a size of a block that no memory holds', { block_bytes: 2 ** 40 }],
])('an index of blocks with %s is corrupt', async (_, damage) => {
  const user = await makeUser();
  const projectId = uniqueId();
  const files = { a: 'a', big: randomBytes(1_500_000).toString('hex') };
  await saveToCloud({ projectId, version: 1, ownerId: user.id, files });
  const manifests = serviceClient().from('storage_manifests');
  const { data } = await manifests.select('block_index').eq('project_id', projectId).single();
  const rows = manifests.update({ block_index: { ...data!.block_index, ...damage } });
  expect((await rows.eq('project_id', projectId)).error).toBeNull();
  const answer = await asUser(callInProcess(), user)('GET', `/projects/${projectId}/1/files/a`);
  expect([answer.status, (await answer.json()).code]).toEqual([422, 'corrupt']);
});
