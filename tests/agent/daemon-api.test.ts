/** The daemon's HTTP API, as a generator in any language calls it: with curl. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, inject, test } from 'vitest';
import { uniqueId } from '../support/cloud.ts';
import { shareDaemon, startDaemon } from '../support/daemon.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { run, runCli } from '../support/run.ts';
import { makeTarGz, type TarEntry } from '../support/tar.ts';
import { tempFolder, writeFiles } from '../support/temp.ts';
import { listTree, readTexts } from '../support/tree.ts';

type Daemon = Awaited<ReturnType<typeof startDaemon>>['daemon'];

let daemon: Daemon;
let storePath: string;

async function curl(...args: string[]) {
  const ran = await run('curl', ['-sS', '-w', '\n%{http_code}', ...args]);
  const lines = ran.stdout.split('\n');
  const status = Number(lines.pop());
  const body = lines.join('\n');
  return { status, body, json: body.startsWith('{') ? JSON.parse(body) : null };
}

const post = (body: unknown, ...more: string[]) =>
  curl(
    `${daemon.url}/v1/generations`,
    '-H',
    'Content-Type: application/json',
    '-d',
    typeof body === 'string' ? body : JSON.stringify(body),
    ...more,
  );

describe('without a token, on a loopback address', () => {
  beforeEach(async () => {
    ({ daemon, storePath } = await startDaemon());
  });

  test('JSON is saved: a receipt, and a URL that works at once', async () => {
    const body = {
      project_id: 'shop',
      generation_id: 'gen-1',
      metadata: { prompt: 'a shop' },
      tree: 'now',
      files: {
        'app/main.py': 'print("hello")\n',
        'logo.png': { content: Buffer.from([0, 255]).toString('base64'), encoding: 'base64' },
        'run.sh': { content: '#!/bin/sh\n', mode: 0o755 },
        // Names that objects are born with.
        constructor: 'c',
        'toString/__proto__': 'p',
      },
    };
    const text = JSON.stringify(body).replace('"toString/', '"__proto__":"own","toString/');
    const { status, json } = await post(text);
    expect(status).toBe(201);
    expect(json).toMatchObject({
      project_id: 'shop',
      version: 1,
      generation_id: 'gen-1',
      status: 'local',
      created: true,
      file_count: 6,
      expires_in: 3600,
      cloud_storage_enabled: false,
      storage: { cloud_enabled: false, uploaded: false, local_path: json.path },
    });
    expect((await fetch(json.download_url)).status).toBe(200);
    expect(readTexts(join(json.path, 'source'))).toMatchObject({
      'app/main.py': 'print("hello")\n',
      constructor: 'c',
      __proto__: 'own',
      'toString/__proto__': 'p',
    });
    expect((await post(text)).status).toBe(200);
    const other = await post({ ...body, files: { a: 'other' } });
    expect([other.status, other.json.code]).toEqual([409, 'conflict']);
    expect((await post({ ...body, files: { a: 'other' }, replace: true })).status).toBe(201);
  });

  test('a form is saved, a file for each part, and a tar.gz, and a tar', async () => {
    const folder = await tempFolder();
    await writeFiles(folder, { 'a.txt': 'a', 'sub/b.bin': Buffer.alloc(300_000, 7) });
    const url = `${daemon.url}/v1/generations`;
    const form = await curl(
      url,
      ...['-F', 'project_id=shop', '-F', 'version=7', '-F', 'metadata={"a":1}'],
      ...['-F', 'tree=now'],
      ...['-F', `file=@${folder}/a.txt;filename=app/a.txt`],
      ...['-F', `file=@${folder}/sub/b.bin;filename=Käse/b.bin`],
    );
    expect(form.json, form.body).toMatchObject({ version: 7, file_count: 2 });
    expect(Object.keys(readTexts(join(form.json.path, 'source'))).sort()).toEqual([
      'Käse/b.bin',
      'app/a.txt',
    ]);
    for (const [version, flag, type] of [
      [8, 'cz', 'application/gzip'],
      [9, 'c', 'application/x-tar'],
    ] as const) {
      const tar = join(folder, `../t${version}-${Date.now()}`);
      await run('tar', [`${flag}f`, tar, '-C', folder, '.']);
      const sent = await curl(
        `${url}?project_id=shop&version=${version}`,
        ...['-H', `Content-Type: ${type}`, '--data-binary', `@${tar}`],
      );
      expect(sent.json, sent.body).toMatchObject({ version, file_count: 2, created: true });
    }
  });

  test('list, show, files, archive, zip, download and delete', async () => {
    const files = { 'a b.txt': 'text', 'x.html': '<script>1</script>' };
    await post({ project_id: 'p', files });
    await post({
      project_id: 'p',
      files: { ...files, 'c.txt': 'c', 'c.sh': { content: 'x', mode: 0o755 } },
    });
    const base = `${daemon.url}/v1/projects/p`;
    const page = await curl(`${base}?limit=1`);
    expect(page.json).toMatchObject({
      items: [{ version: 2, status: 'local', file_count: 4, active: false }],
      next_cursor: 2,
    });
    expect((await curl(`${base}?limit=1&cursor=2`)).json).toMatchObject({
      items: [{ version: 1 }],
      next_cursor: null,
    });
    expect((await curl(`${base}/1`)).json).toMatchObject({
      version: 1,
      storage: { uploaded: false },
      download_url: expect.stringContaining('signature='),
    });
    const tree = await curl(`${base}/1/files`);
    expect(tree.json.items.map((file: { path: string }) => file.path)).toEqual([
      'a b.txt',
      'x.html',
    ]);
    expect((await curl(`${base}/1/files/a%20b.txt`)).body).toBe('text');
    const html = await fetch(`${base}/1/files/x.html`);
    expect(html.headers.get('content-type')).toBe('application/octet-stream');
    expect(html.headers.get('x-content-type-options')).toBe('nosniff');
    expect((await curl(`${base}/1/files/nothing`)).status).toBe(404);
    expect((await curl('--path-as-is', `${base}/1/files/..%2f..%2fmanifest.json`)).status).toBe(
      400,
    );

    const folder = await tempFolder();
    await curl(`${base}/2/archive.zip`, '-o', join(folder, 'a.zip'));
    await run('unzip', ['-q', join(folder, 'a.zip'), '-d', join(folder, 'zip')]);
    const executable = (path: string) => (statSync(join(folder, 'zip', path)).mode & 0o100) !== 0;
    expect([executable('c.sh'), executable('a b.txt')]).toEqual([true, false]);
    const { '.codebegen/manifest.json': manifest, ...unzipped } = readTexts(join(folder, 'zip'));
    expect(unzipped).toEqual({ ...files, 'c.txt': 'c', 'c.sh': 'x' });
    expect(JSON.parse(manifest!)).toMatchObject({ version: 2, file_count: 4 });
    await curl(`${base}/2/archive.tar.gz`, '-o', join(folder, 'a.tar.gz'));
    await run('tar', ['xzf', join(folder, 'a.tar.gz'), '-C', folder]);
    for (const [path, content] of Object.entries({ ...files, 'c.txt': 'c' })) {
      expect(readFileSync(join(folder, path), 'utf8')).toBe(content);
    }

    const { json } = await curl(`${base}/1/download?expires_in=60`);
    expect((await fetch(json.url)).status).toBe(200);
    expect((await curl('-X', 'DELETE', `${base}/1`)).json).toMatchObject({
      status: 'deleted',
      deleted: true,
    });
    expect((await curl('-X', 'DELETE', `${base}/1`)).json).toMatchObject({ deleted: false });
    expect((await curl(`${base}/1`)).status).toBe(404);
    expect((await curl('-X', 'DELETE', `${base}/9`)).status).toBe(404);
    expect((await fetch(json.url)).status).toBe(404);
  });

  test('JSON over 64 MB is refused, the same in a tar is taken', async () => {
    const folder = await tempFolder();
    const content = 'x'.repeat(65 * 1024 * 1024);
    const json = join(folder, 'body.json');
    writeFileSync(json, JSON.stringify({ project_id: 'p', files: { a: content } }));
    const url = `${daemon.url}/v1/generations`;
    for (const type of ['application/json', 'Application/JSON; charset=utf-8']) {
      const refused = await curl(url, '-H', `Content-Type: ${type}`, '-d', `@${json}`);
      expect([refused.status, refused.json.code]).toEqual([413, 'too_large']);
    }
    const tar = join(folder, 'a.tar.gz');
    writeFileSync(tar, makeTarGz([{ name: 'a', content } satisfies TarEntry]));
    const type = ['-H', 'Content-Type: application/gzip', '--data-binary', `@${tar}`];
    expect((await curl(`${url}?project_id=p`, ...type)).status).toBe(201);
  });

  test('a client that goes away in the middle leaves nothing', async () => {
    const sending = request(`${daemon.url}/v1/generations?project_id=p`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-tar', 'content-length': '100000' },
    });
    sending.on('error', () => {});
    sending.write(makeTarGz([{ name: 'a', content: 'a' }]).subarray(0, 20));
    const isStaged = () => listTree(storePath).some((name) => /staging\/[^/]+\/./.test(name));
    while (!isStaged()) await sleep(5);
    sending.destroy();
    while (isStaged()) await sleep(5);
    expect((await curl(`${daemon.url}/v1/projects/p`)).json.items).toEqual([]);
  });

  test('clients that go away in the middle of a form or a zip leave no file open', async () => {
    const openFiles = () => readdirSync(`/proc/${daemon.child.pid}/fd`).length;
    const isStaged = () => listTree(storePath).some((name) => /staging\/[^/]+\/./.test(name));
    await fetch(`${daemon.url}/v1/generations`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        project_id: 'zip',
        files: { large: randomBytes(9e6).toString('hex') },
      }),
    });
    const before = openFiles();
    for (let i = 0; i < 5; i++) {
      const form = request(`${daemon.url}/v1/generations`, {
        method: 'POST',
        headers: { 'content-type': 'multipart/form-data; boundary=x' },
      });
      form.on('error', () => {});
      const part = (name: string) => `--x\r\nContent-Disposition: form-data; name="${name}`;
      form.write(`${part('project_id')}"\r\n\r\np\r\n`);
      form.write(`${part('f')}"; filename="a"\r\n\r\n${'a'.repeat(100_000)}`);
      while (!isStaged()) await sleep(5);
      form.destroy();
      while (isStaged()) await sleep(5);
      const aborted = new AbortController();
      const zip = await fetch(`${daemon.url}/v1/projects/zip/1/archive.zip`, aborted);
      await zip.body!.getReader().read();
      aborted.abort();
    }
    while (openFiles() > before + 3) await sleep(20);
  });

  test('status, uploads, probes and metrics', async () => {
    await post({ project_id: 'p', files: { a: 'abc' } });
    await curl(`${daemon.url}/v1/projects/p/1/files/a`);
    expect((await curl(`${daemon.url}/healthz`)).json).toEqual({ status: 'ok' });
    expect((await curl(`${daemon.url}/readyz`)).json).toEqual({ status: 'ready' });
    expect((await curl(`${daemon.url}/v1/status`)).json).toMatchObject({
      store_path: storePath,
      disk: { free_bytes: expect.any(Number), bytes: expect.any(Number) },
      cloud: { enabled: false },
      generations: { local: 1 },
      outbox: { owed: 1, parked: 0, since: expect.stringMatching(/Z$/) },
    });
    expect((await curl(`${daemon.url}/v1/uploads`)).json).toMatchObject({
      items: [{ project_id: 'p', version: 1, step: 'reserve', attempts: 0, parked: false }],
      next_cursor: null,
    });
    expect((await curl('-X', 'POST', `${daemon.url}/v1/uploads/retry`)).json).toEqual({
      retried: 0,
    });
    const { body } = await curl(`${daemon.url}/metrics`);
    for (const line of [
      'codebegen_storage_saves_total{created="true"} 1',
      'codebegen_storage_saved_bytes_total 3',
      'codebegen_storage_save_duration_seconds_count 1',
      'codebegen_storage_gets_total{from="store"} 1',
      'codebegen_storage_generations{status="local"} 1',
      'codebegen_storage_outbox_jobs{state="owed"} 1',
      'codebegen_storage_outbox_jobs{state="parked"} 0',
    ]) {
      expect(body.split('\n')).toContain(line);
    }
    expect(body).toMatch(/^codebegen_storage_disk_free_bytes [1-9]/m);
    expect(body).toMatch(/^codebegen_storage_outbox_oldest_seconds \d/m);
  });
});

describe('what is refused leaves nothing behind', () => {
  const shared = shareDaemon();
  beforeEach(() => {
    ({ daemon, storePath } = shared());
  });

  test.each<[string, number, string, string[]]>([
    ['no content type', 400, 'content-type', ['-H', 'Content-Type:', '-d', '{}']],
    ['a text', 400, 'content-type', ['-H', 'Content-Type: text/plain', '-d', '{}']],
    ['no JSON', 400, 'body', ['-H', 'Content-Type: application/json', '-d', '{']],
    [
      'no project',
      400,
      'project_id',
      ['-H', 'Content-Type: application/json', '-d', '{"files":{}}'],
    ],
    [
      'no files',
      400,
      'files',
      ['-H', 'Content-Type: application/json', '-d', '{"project_id":"p"}'],
    ],
    [
      'an unknown field',
      400,
      'file',
      [
        '-H',
        'Content-Type: application/json',
        '-d',
        '{"project_id":"p","file":{},"files":{"a":""}}',
      ],
    ],
    [
      'a path that leads out',
      400,
      '../a',
      ['-H', 'Content-Type: application/json', '-d', '{"project_id":"p","files":{"../a":""}}'],
    ],
    [
      'content that is no base64',
      400,
      '\\"a\\"',
      [
        '-H',
        'Content-Type: application/json',
        '-d',
        '{"project_id":"p","files":{"a":{"content":"?","encoding":"base64"}}}',
      ],
    ],
    [
      'a form with a path that leads out',
      400,
      '../a',
      ['-F', 'project_id=p', '-F', 'f=x;filename=../a'],
    ],
    ['a form without a project', 400, 'project_id', ['-F', 'f=x;filename=a']],
    [
      'a form with a field after a file',
      400,
      'version',
      ['-F', 'project_id=p', '-F', 'f=x;filename=a', '-F', 'version=1'],
    ],
    ['a form without a file', 400, 'file', ['-F', 'project_id=p']],
    [
      'a form that is cut',
      400,
      'form',
      ['-H', 'Content-Type: multipart/form-data; boundary=x', '-d', '--x\r\n'],
    ],
    [
      'a form without a boundary',
      400,
      'content-type',
      ['-H', 'Content-Type: multipart/form-data', '-d', 'x'],
    ],
    ['no tar', 422, 'tar', ['-H', 'Content-Type: application/gzip', '-d', 'x', '-G', '-X', 'POST']],
  ])('%s is %i, and names %s', async (_, status, named, args) => {
    const query = args.includes('-G') ? '?project_id=p' : '';
    const rest = args.filter((arg) => arg !== '-G');
    const answer = await curl(`${daemon.url}/v1/generations${query}`, ...rest);
    expect([answer.status, answer.json.status], answer.body).toEqual([status, status]);
    expect(answer.body).toContain(named);
    expect(listTree(storePath).filter((name) => /staging\/[^/]+\/.|^p/.test(name))).toEqual([]);
  });

  test.each([
    ['a name that was made to point here', ['-H', 'Host: evil.example:8787']],
    ['another origin', ['-H', 'Origin: https://evil.example']],
    ['an origin that says nothing', ['-H', 'Origin: null']],
    ['another port of this host', ['-H', 'Origin: http://127.0.0.1:1']],
  ])('%s is refused', async (_, headers) => {
    for (const path of ['/v1/status', '/healthz', '/metrics']) {
      const answer = await curl(`${daemon.url}${path}`, ...headers);
      expect([answer.status, answer.json.code], path).toEqual([403, 'forbidden']);
    }
    const saved = await post({ project_id: 'p', files: { a: 'a' } }, ...headers);
    expect(saved.status).toBe(403);
    expect((await curl(`${daemon.url}/v1/projects/p`)).json.items).toEqual([]);
  });

  test('its own names and origin are taken', async () => {
    const { port, host } = new URL(daemon.url);
    for (const headers of [
      ['-H', `Host: localhost:${port}`],
      ['-H', `Host: [::1]:${port}`],
      ['-H', `Origin: http://${host}`],
    ]) {
      expect((await curl(`${daemon.url}/v1/status`, ...headers)).status).toBe(200);
    }
  });
});

test('no answer waits for a cloud that is silent', async () => {
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  ({ daemon } = await startDaemon({
    USE_CLOUD_STORAGE: 'true',
    SUPABASE_URL: proxy.url,
    SUPABASE_SERVICE_KEY: inject('stack').SUPABASE_SERVICE_KEY,
  }));
  const body = { project_id: uniqueId(), version: 1, generation_id: 'g', files: { a: 'a' } };
  const saved = await post(body);
  expect(saved.json).toMatchObject({ status: 'pending', cloud_storage_enabled: true });
  const url = `${daemon.url}/v1/projects/${body.project_id}/1`;
  while ((await curl(url)).json.status !== 'verified') await sleep(20);
  expect((await curl(url)).json.download_url).toContain('/storage/v1/object/sign/');
  proxy.rule = () => ({ kind: 'stall' });
  for (const answer of [await post(body), await curl(url)]) {
    expect(answer.json).toMatchObject({ status: 'verified', download_url: null });
  }
}, 20_000);

describe('with a token', () => {
  const TOKEN = 'a-token-that-nobody-guesses';
  const auth = ['-H', `Authorization: Bearer ${TOKEN}`];

  test('requests need it, signed paths and probes do not', async () => {
    ({ daemon } = await startDaemon({ AGENT_TOKEN: TOKEN }));
    const url = `${daemon.url}/v1/generations`;
    const body = [
      '-H',
      'Content-Type: application/json',
      '-d',
      '{"project_id":"p","files":{"a":"a"}}',
    ];
    for (const headers of [
      [],
      ['-H', 'Authorization: Bearer wrong'],
      ['-H', `Authorization: ${TOKEN}`],
      // Nearly it: more, less, in other letters, twice.
      ...[
        `${TOKEN}x`,
        `${TOKEN} x`,
        TOKEN.slice(0, -1),
        TOKEN.slice(0, 1),
        TOKEN.toUpperCase(),
      ].map((nearly) => ['-H', `Authorization: Bearer ${nearly}`]),
      ['-H', `Authorization: Bearer Bearer ${TOKEN}`],
      ['-H', 'Authorization: Bearer '],
    ]) {
      const answer = await curl(url, ...body, ...headers);
      expect([answer.status, answer.json.code]).toEqual([401, 'unauthenticated']);
    }
    // A signature opens the one path that checks it, and no other.
    for (const path of ['/v1/status?signature=x', '/metrics', '/v1/projects/p?signature=x']) {
      expect((await curl(`${daemon.url}${path}`)).status, path).toBe(401);
    }
    const saved = await curl(url, ...body, ...auth);
    expect(saved.status).toBe(201);
    expect((await fetch(saved.json.download_url)).status).toBe(200);
    const unsigned = saved.json.download_url.replace(/&signature=[^&]*/, '');
    expect((await fetch(unsigned)).status).toBe(401);
    expect((await curl(`${daemon.url}/healthz`)).status).toBe(200);
    expect((await curl(`${daemon.url}/readyz`)).status).toBe(200);
    expect((await curl(`${daemon.url}/metrics`, ...auth)).status).toBe(200);
  });

  test('the log has each request, by an id, and neither token nor signature', async () => {
    ({ daemon } = await startDaemon({ AGENT_TOKEN: TOKEN }));
    const body = [
      '-H',
      'Content-Type: application/json',
      '-d',
      '{"project_id":"p","files":{"a":"a"}}',
    ];
    const saved = await curl(`${daemon.url}/v1/generations`, ...body, ...auth);
    await fetch(saved.json.download_url);
    await curl(`${daemon.url}/v1/nothing`, ...auth, '-H', 'X-Request-Id: mine');
    daemon.child.kill('SIGTERM');
    await once(daemon.child, 'close');
    const { stderr } = daemon.output();
    const lines = stderr
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines).toContainEqual(
      expect.objectContaining({
        level: 'info',
        method: 'POST',
        path: '/v1/generations',
        status: 201,
      }),
    );
    expect(lines).toContainEqual(
      expect.objectContaining({ request_id: 'mine', path: '/v1/nothing', status: 404 }),
    );
    expect(stderr).not.toContain(TOKEN);
    expect(stderr).not.toContain(new URL(saved.json.download_url).searchParams.get('signature'));
  });

  test.each([
    [{ AGENT_HOST: '0.0.0.0' }, 'AGENT_TOKEN is needed while AGENT_HOST is not a loopback address'],
    [
      { AGENT_PUBLIC_URL: 'https://x.example' },
      'AGENT_TOKEN is needed while AGENT_PUBLIC_URL is set',
    ],
    [{ AGENT_TOKEN: 'short' }, 'AGENT_TOKEN must have at least 16 characters'],
    [{ LOG_LEVEL: 'loud' }, 'LOG_LEVEL must be one of'],
  ])('%j refuses to start', async (env, problem) => {
    const ran = await runCli(['start'], { FILE_STORAGE_PATH: await tempFolder(), ...env });
    expect([ran.code, ran.stdout]).toEqual([1, '']);
    expect(ran.stderr).toContain(problem);
    expect(ran.stderr).not.toContain('short');
  });
});
