/** The archive as a zip: by token, and by a link. */
import { randomBytes } from 'node:crypto';
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import { beforeAll, describe, expect, inject, onTestFinished, test, vi } from 'vitest';
import { EDGE_LIMITS } from '../../functions/_shared/contract/limits.ts';
import { makeUser, serviceClient, type TestUser, uniqueId } from '../support/cloud.ts';
import { asUser, type Call, callInProcess, WAYS } from '../support/edge.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { putGeneration, saveToCloud } from '../support/generation.ts';
import { run } from '../support/run.ts';
import { makeTarGz } from '../support/tar.ts';
import { tempFolder } from '../support/temp.ts';
import { readTree } from '../support/tree.ts';

const FILES: Record<string, string | Buffer> = {
  'app/main.py': 'print("hello")\n',
  'app/empty.py': '',
  'Käse/ß/日本.txt': 'unicode\n',
  'with space & "quotes".txt': 'odd\n',
  '-leading': 'dash\n',
  'large.bin': randomBytes(3_000_000),
  'zeros.bin': Buffer.alloc(1_000_000),
};

let owner: TestUser;
let project: string;

beforeAll(async () => {
  owner = await makeUser();
  project = uniqueId();
  const files = { ...FILES, 'run.sh': { content: '#!/bin/sh\n', mode: 0o755 } };
  await saveToCloud({ projectId: project, ownerId: owner.id, files });
});

/** Unpacks a zip with `unzip`, and reads what came out. */
async function unzip(answer: Response): Promise<{ folder: string; tree: Record<string, Buffer> }> {
  const folder = await tempFolder();
  const zip = join(folder, 'a.zip');
  writeFileSync(zip, Buffer.from(await answer.arrayBuffer()));
  const tested = await run('unzip', ['-tq', zip]);
  expect(tested.code, tested.stdout + tested.stderr).toBe(0);
  const into = join(folder, 'out');
  const ran = await run('unzip', ['-q', zip, '-d', into], { env: { LC_ALL: 'C.UTF-8' } });
  expect(ran.code, ran.stdout + ran.stderr).toBe(0);
  return { folder: into, tree: readTree(into) };
}

describe.each(WAYS)('%s', (_, makeCall) => {
  let call: Call;
  let as: ReturnType<typeof asUser>;
  beforeAll(() => {
    call = makeCall();
    as = asUser(call, owner);
  });

  /** The link of a zip, as a path of this way in. */
  const linkOf = async (body: object = {}) => {
    const answer = await as('POST', `/projects/${project}/1/download`, { format: 'zip', ...body });
    expect(answer.status).toBe(200);
    const download = await answer.json();
    const url = new URL(download.url);
    return { download, path: url.pathname.replace('/functions/v1/generations', '') + url.search };
  };

  test('unzip finds every file, its name, content and mode', async () => {
    const answer = await as('GET', `/projects/${project}/1/archive.zip`);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toBe('application/zip');
    expect(answer.headers.get('content-disposition')).toBe(
      `attachment; filename="${project}-v1.zip"`,
    );
    const { folder, tree } = await unzip(answer);
    expect(Object.keys(tree).sort()).toEqual(
      ['.codebegen/manifest.json', 'run.sh', ...Object.keys(FILES)].sort(),
    );
    for (const [path, content] of Object.entries(FILES)) {
      expect(tree[path]!.equals(Buffer.from(content)), path).toBe(true);
    }
    expect(statSync(join(folder, 'run.sh')).mode & 0o777).toBe(0o755);
    expect(statSync(join(folder, 'app/main.py')).mode & 0o777).toBe(0o644);
  });

  test('other readers take it: python, and the central directory alone', async () => {
    const folder = await tempFolder();
    const zip = join(folder, 'a.zip');
    const answer = await as('GET', `/projects/${project}/1/archive.zip`);
    writeFileSync(zip, Buffer.from(await answer.arrayBuffer()));
    const script =
      'import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None; print(len(z.namelist()), "Käse/ß/日本.txt" in z.namelist())';
    const ran = await run('python3', ['-c', script, zip], { env: { PYTHONIOENCODING: 'utf8' } });
    expect(ran.stdout.trim(), ran.stderr).toBe(`${Object.keys(FILES).length + 2} True`);
  });

  test('a link needs nothing else, says when it ends, and knows neither size nor hash', async () => {
    const { download, path } = await linkOf({ expires_in: 60 });
    expect(download).toMatchObject({ sha256: null, size: null });
    const left = new Date(download.expires_at).getTime() - Date.now();
    expect(left).toBeGreaterThan(50_000);
    expect(left).toBeLessThanOrEqual(60_000);
    const answer = await call('GET', path);
    expect(answer.status).toBe(200);
    expect(Object.keys((await unzip(answer)).tree)).toContain('app/main.py');
    expect(download.url).toMatch(
      /^http:\/\/127\.0\.0\.1:\d+\/functions\/v1\/generations\/projects/,
    );
  });

  test.each<[string, (path: string) => string | Promise<string>]>([
    ['of another version', (path) => path.replace('/1/archive', '/2/archive')],
    ['of another project', (path) => path.replace(project, 'other')],
    // The first letter of the signature: not all bits of the last one count.
    [
      'that was changed',
      (path) =>
        path.replace(/\.[^.]([^.]*)$/, (all, rest) => `.${all[1] === 'A' ? 'B' : 'A'}${rest}`),
    ],
    ['that is garbage', (path) => path.replace(/token=.*/, 'token=garbage')],
    ['with an empty token', (path) => path.replace(/token=.*/, 'token=')],
    ["with the user's own token", (path) => path.replace(/token=.*/, `token=${owner.token}`)],
    [
      'signed with another key',
      async (path) => {
        const claims = { project, version: 1, generation: 'g' };
        const token = await new SignJWT(claims)
          .setProtectedHeader({ alg: 'HS256' })
          .setSubject(owner.id)
          .setAudience('archive.zip')
          .setExpirationTime('1h')
          .sign(new TextEncoder().encode(inject('stack').JWT_SECRET));
        return path.replace(/token=.*/, `token=${token}`);
      },
    ],
  ])('a link %s is refused', async (_case, change) => {
    const { path } = await linkOf();
    const answer = await call('GET', await change(path));
    expect([answer.status, (await answer.json()).code]).toEqual([401, 'unauthenticated']);
  });

  test('a link is no token of a user', async () => {
    const token = new URL((await linkOf()).download.url).searchParams.get('token')!;
    const headers = { authorization: `Bearer ${token}` };
    expect((await call('GET', '/projects', { headers })).status).toBe(401);
  });

  test('HEAD tells what there is', async () => {
    const { path } = await linkOf();
    const answer = await call('HEAD', path);
    expect([answer.status, await answer.text()]).toEqual([200, '']);
    expect(answer.headers.get('content-type')).toBe('application/zip');
  });

  test('a link ends with the generation', async () => {
    const projectId = uniqueId();
    const archive = makeTarGz([{ name: 'v1__gen-1/source/a', content: 'a' }]);
    await putGeneration({ projectId, version: 1, ownerId: owner.id, archive });
    const made = await as('POST', `/projects/${projectId}/1/download`, { format: 'zip' });
    const url = new URL((await made.json()).url);
    const path = url.pathname.replace('/functions/v1/generations', '') + url.search;
    expect((await call('GET', path)).status).toBe(200);
    expect((await as('DELETE', `/projects/${projectId}/1`)).status).toBe(200);
    expect((await call('GET', path)).status).toBe(404);
  });

  test.each([
    ['bytes', { source_bytes: EDGE_LIMITS.zipBytes + 1 }],
    ['files', { file_count: EDGE_LIMITS.zipFiles + 1 }],
  ])('too many %s are refused, with the URL of the tar.gz', async (_case, counts) => {
    const projectId = uniqueId();
    const archive = makeTarGz([{ name: 'v1__gen-1/source/a', content: 'a' }]);
    await putGeneration({ projectId, version: 1, ownerId: owner.id, archive });
    const rows = serviceClient().from('storage_generations');
    await rows.update(counts).eq('project_id', projectId);
    const base = `/projects/${projectId}/1`;
    for (const answer of [
      await as('POST', `${base}/download`, { format: 'zip' }),
      await as('GET', `${base}/archive.zip`),
    ]) {
      const problem = await answer.json();
      expect([answer.status, problem.code]).toEqual([413, 'too_large']);
      const whole = Buffer.from(await (await fetch(problem.download_url)).arrayBuffer());
      expect(whole.equals(archive)).toBe(true);
    }
  });

  test('what is not uploaded has no zip', async () => {
    const projectId = uniqueId();
    await putGeneration({ projectId, version: 1, ownerId: owner.id, status: 'pending' });
    const answer = await as('POST', `/projects/${projectId}/1/download`, { format: 'zip' });
    expect(answer.status).toBe(409);
  });
});

test('a link has its time', async () => {
  const call = callInProcess();
  const body = { format: 'zip', expires_in: 60 };
  const answer = await asUser(call, owner)('POST', `/projects/${project}/1/download`, body);
  const url = new URL((await answer.json()).url);
  const path = url.pathname.replace('/functions/v1/generations', '') + url.search;
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 61_000 });
  onTestFinished(() => void vi.useRealTimers());
  const late = await call('GET', path);
  expect([late.status, (await late.json()).detail]).toEqual([
    401,
    expect.stringContaining('expired'),
  ]);
});

test('what was not counted is counted before the zip begins', async () => {
  const projectId = uniqueId();
  const small = makeTarGz([{ name: 'v1__gen-1/source/a', content: 'a' }]);
  const large = makeTarGz([
    { name: 'v1__gen-1/source/a', content: Buffer.alloc(EDGE_LIMITS.zipBytes + 1) },
  ]);
  await putGeneration({ projectId, version: 1, ownerId: owner.id, archive: small });
  await putGeneration({ projectId, version: 2, ownerId: owner.id, archive: large });
  const rows = serviceClient().from('storage_generations');
  await rows.update({ source_bytes: null }).eq('project_id', projectId);
  const as = asUser(callInProcess(), owner);
  const [first, second] = [
    await as('GET', `/projects/${projectId}/1/archive.zip`),
    await as('GET', `/projects/${projectId}/2/archive.zip`),
  ];
  expect([first.status, second.status]).toEqual([200, 413]);
  expect(Object.keys((await unzip(first)).tree)).toEqual(['a']);
});

test.each<[string, object, { name: string; content?: Buffer }[]]>([
  ...[{ source_bytes: null }, { file_count: null }, { digest: null }].map(
    (row) =>
      [
        `more bytes than a zip may have, ${Object.keys(row)} unknown`,
        row,
        // The first alone would do: it is the whole that is too much.
        [{ name: 'a' }, { name: 'b', content: Buffer.alloc(EDGE_LIMITS.zipBytes) }],
      ] as [string, object, { name: string; content?: Buffer }[]],
  ),
  [
    'more files than a zip may have',
    { digest: null },
    Array.from({ length: EDGE_LIMITS.zipFiles + 1 }, (_, i) => ({ name: `f${i}` })),
  ],
  [
    'an archive that is too large to be counted',
    { digest: null, archive_bytes: EDGE_LIMITS.zipBytes + 1 },
    [],
  ],
])('%s is refused before the zip begins', async (_, row, files) => {
  const projectId = uniqueId();
  const archive = makeTarGz([
    { name: 'v1__gen-1/source/first', content: 'a' },
    ...files.map(({ name, content = Buffer.alloc(1) }) => ({
      name: `v1__gen-1/source/${name}`,
      content,
    })),
  ]);
  await putGeneration({ projectId, version: 1, ownerId: owner.id, archive });
  const rows = serviceClient().from('storage_generations');
  await rows.update(row).eq('project_id', projectId);
  const as = asUser(callInProcess(), owner);
  for (const answer of [
    await as('GET', `/projects/${projectId}/1/archive.zip`),
    await as('POST', `/projects/${projectId}/1/download`, { format: 'zip' }),
  ]) {
    expect([answer.status, (await answer.json()).code]).toEqual([413, 'too_large']);
  }
});

test('an archive as large as may be counted is counted', async () => {
  const projectId = uniqueId();
  const archive = makeTarGz([{ name: 'v1__gen-1/source/a', content: 'a' }]);
  await putGeneration({ projectId, version: 1, ownerId: owner.id, archive });
  const row = { digest: null, archive_bytes: EDGE_LIMITS.zipBytes };
  await serviceClient().from('storage_generations').update(row).eq('project_id', projectId);
  const zip = await asUser(callInProcess(), owner)('GET', `/projects/${projectId}/1/archive.zip`);
  expect(zip.status).toBe(200);
});

test.each([
  { source_bytes: EDGE_LIMITS.zipBytes, file_count: 0, status: 200 },
  { source_bytes: 0, file_count: EDGE_LIMITS.zipFiles, status: 200 },
  { source_bytes: EDGE_LIMITS.zipBytes, file_count: 1, status: 413 },
  { source_bytes: 1, file_count: EDGE_LIMITS.zipFiles, status: 413 },
])('$source_bytes bytes in $file_count files: $status', async ({ status, ...row }) => {
  const projectId = uniqueId();
  await saveToCloud({ projectId, ownerId: owner.id, files: { a: 'a' } });
  await serviceClient().from('storage_generations').update(row).eq('project_id', projectId);
  const as = asUser(callInProcess(), owner);
  const answer = await as('POST', `/projects/${projectId}/1/download`, { format: 'zip' });
  expect(answer.status).toBe(status);
});

test('an archive of no files is an empty zip', async () => {
  const projectId = uniqueId();
  const archive = makeTarGz([]);
  await putGeneration({ projectId, version: 1, ownerId: owner.id, archive });
  const zip = await asUser(callInProcess(), owner)('GET', `/projects/${projectId}/1/archive.zip`);
  expect(zip.status).toBe(200);
  // The end of central directory record, and nothing before it.
  expect(Buffer.from(await zip.arrayBuffer()).toString('latin1')).toMatch(/^PK\x05\x06/);
});

test('HEAD reads no archive', async () => {
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const as = asUser(callInProcess({ SUPABASE_URL: proxy.url }), owner);
  const answer = await as('HEAD', `/projects/${project}/1/archive.zip`);
  expect(answer.status).toBe(200);
  expect(proxy.seen.filter((line) => line.includes('/object/'))).toEqual([]);
});

test.each([
  ['1980-07-05T00:00:00Z', [1981, 1]],
  ['1981-07-05T00:00:00Z', [1981, 7]],
  ['2098-07-05T00:00:00Z', [2098, 7]],
  ['2099-07-05T00:00:00Z', [1981, 1]],
])('what was made at %s is dated so, where a zip has such dates', async (created_at, dated) => {
  const projectId = uniqueId();
  const archive = makeTarGz([{ name: 'v1__gen-1/source/a', content: 'a' }]);
  await putGeneration({ projectId, version: 1, ownerId: owner.id, archive });
  await serviceClient()
    .from('storage_generations')
    .update({ created_at })
    .eq('project_id', projectId);
  const zip = await asUser(callInProcess(), owner)('GET', `/projects/${projectId}/1/archive.zip`);
  const path = join(await tempFolder(), 'a.zip');
  writeFileSync(path, Buffer.from(await zip.arrayBuffer()));
  const program =
    'import sys, zipfile; print(zipfile.ZipFile(sys.argv[1]).infolist()[0].date_time[:2])';
  const { stdout } = await run('python3', ['-c', program, path]);
  expect(stdout.trim()).toBe(`(${dated.join(', ')})`);
});

test('bytes and files count together, and the manifest does not', async () => {
  const projectId = uniqueId();
  const content = Buffer.alloc(1024 * 1024);
  const files = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`f${i}`, content]));
  await saveToCloud({ projectId, version: 1, ownerId: owner.id, files: files(15) });
  await saveToCloud({ projectId, version: 2, ownerId: owner.id, files: files(16) });
  const as = asUser(callInProcess(), owner);
  const zip = await as('GET', `/projects/${projectId}/1/archive.zip`);
  expect(Object.keys((await unzip(zip)).tree)).toHaveLength(16);
  for (const answer of [
    await as('POST', `/projects/${projectId}/2/download`, { format: 'zip' }),
    await as('GET', `/projects/${projectId}/2/archive.zip`),
  ]) {
    expect(answer.status).toBe(413);
  }
});

test('an archive of the Python system is looked through before there is a link', async () => {
  const projectId = uniqueId();
  const names = [{ name: 'v1__gen-1/source/README' }, { name: 'v1__gen-1/source/readme' }];
  await putGeneration({ projectId, version: 1, ownerId: owner.id, archive: makeTarGz(names) });
  const rows = serviceClient().from('storage_generations');
  // It has no digest, and was made before zips knew of years.
  const old = { digest: null, created_at: '1970-01-01T00:00:00Z' };
  await rows.update(old).eq('project_id', projectId);
  const as = asUser(callInProcess(), owner);
  const refused = await as('POST', `/projects/${projectId}/1/download`, { format: 'zip' });
  expect([refused.status, (await refused.json()).code]).toEqual([422, 'corrupt']);

  const archive = makeTarGz([{ name: 'v2__gen-2/source/a', content: 'a' }]);
  await putGeneration({ projectId, version: 2, ownerId: owner.id, archive });
  await rows.update(old).eq('project_id', projectId);
  const zip = await as('GET', `/projects/${projectId}/2/archive.zip`);
  expect(Object.keys((await unzip(zip)).tree)).toEqual(['a']);
});

test('an archive of more than its row says breaks off', async () => {
  const projectId = uniqueId();
  const content = Buffer.alloc(EDGE_LIMITS.zipBytes + 1);
  const archive = makeTarGz([
    { name: 'v1__gen-1/source/a', content: 'a' },
    { name: 'v1__gen-1/source/b', content },
  ]);
  await putGeneration({ projectId, version: 1, ownerId: owner.id, archive });
  const answer = await asUser(callInProcess(), owner)(
    'GET',
    `/projects/${projectId}/1/archive.zip`,
  );
  // Too late for an error: the zip breaks off, so that nobody takes it for whole.
  await expect(answer.arrayBuffer()).rejects.toThrow();
});

test('a zip of what breaks off, or is damaged, breaks off too', async () => {
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const as = asUser(callInProcess({ SUPABASE_URL: proxy.url }), owner);
  for (const fault of [
    { kind: 'truncate', afterBytes: 1_000_000 },
    { kind: 'flip', at: 1_000_000 },
  ] as const) {
    proxy.rule = (_, path) => (path.includes('/storage/') ? fault : null);
    const answer = await as('GET', `/projects/${project}/1/archive.zip`);
    expect(answer.status).toBe(200);
    await expect(answer.arrayBuffer(), fault.kind).rejects.toThrow();
  }
});

test('names that lead out of a folder never get into a zip', async () => {
  const projectId = uniqueId();
  const archive = makeTarGz([
    { name: 'v1__gen-1/source/ok' },
    { name: 'v1__gen-1/source/../../../evil' },
  ]);
  await putGeneration({ projectId, version: 1, ownerId: owner.id, archive });
  const answer = await asUser(callInProcess(), owner)(
    'GET',
    `/projects/${projectId}/1/archive.zip`,
  );
  await expect(answer.arrayBuffer()).rejects.toThrow();
});
