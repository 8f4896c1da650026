/** `doctor`: each thing that can be wrong is found, and told what to do about. */
import { existsSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import { type Diagnosis, diagnose } from '../../node-agent/doctor/doctor.ts';
import { serviceClient, uniqueId } from '../support/cloud.ts';
import { type Fault, startFaultProxy } from '../support/fault-proxy.ts';
import { hostEnvironment } from '../support/host.ts';
import { makeHost } from '../support/host-key.ts';
import { builtProgram, ROOT, run, runCli } from '../support/run.ts';
import { tempFolder } from '../support/temp.ts';
import { listTree } from '../support/tree.ts';

async function makeBucket(isPublic: boolean): Promise<string> {
  const bucket = uniqueId('bucket');
  expect(
    (await serviceClient().storage.createBucket(bucket, { public: isPublic })).error,
  ).toBeNull();
  return bucket;
}

const statuses = ({ checks }: Diagnosis) =>
  Object.fromEntries(checks.map(({ name, status }) => [name, status]));

test('a sound installation passes, and nothing is left of trying it', async () => {
  const bucket = await makeBucket(false);
  // One that is empty beside others is told of.
  await serviceClient().storage.from(bucket).upload('p/generations/v1__g.tar.gz', 'x');
  const env = await hostEnvironment({ SUPABASE_BUCKET: bucket });
  const ran = await runCli(['doctor', '--json'], env);
  const diagnosis = JSON.parse(ran.stdout);
  expect([ran.code, ran.stderr, diagnosis.ok], ran.stdout).toEqual([0, '', true]);
  expect(statuses(diagnosis)).toEqual({
    configuration: 'pass',
    store: 'pass',
    locks: 'pass',
    'open files': 'pass',
    catalog: 'pass',
    projects: 'pass',
    'file system': 'pass',
    cache: 'pass',
    project: 'pass',
    proxy: 'pass',
    clock: 'pass',
    key: 'pass',
    migrations: 'pass',
    bucket: 'pass',
    function: 'pass',
    // The secret key lies here.
    'host key': 'warn',
    'round trip': 'pass',
  });
  const { data } = await serviceClient().storage.from(bucket).list();
  expect(data?.map(({ name }) => name)).toEqual(['p']);
  expect([...listTree(env.FILE_STORAGE_PATH), ...listTree(env.CACHE_PATH)]).toEqual([]);
  const shown = await runCli(['doctor'], env);
  expect(shown.stdout).toMatch(/^✓ configuration +every variable can be used\n/);
  expect(shown.stdout + ran.stdout).not.toContain(env.SUPABASE_SERVICE_KEY);
});

test('without a cloud the folders are all there is; one that was not there is not afterwards', async () => {
  const path = join(await tempFolder(), 'not-there');
  const env = { FILE_STORAGE_PATH: path, CACHE_PATH: await tempFolder() };
  const diagnosis = await diagnose(env);
  expect(statuses(diagnosis)).toMatchObject({ store: 'pass', cloud: 'pass' });
  expect(existsSync(path)).toBe(false);
});

test.skipIf(process.platform !== 'linux')(
  'a store where no folder can be made is named by doctor and by what saves',
  async () => {
    const env = { FILE_STORAGE_PATH: '/proc/nope/store', CACHE_PATH: await tempFolder() };
    const { checks } = await diagnose(env);
    expect(checks.find(({ name }) => name === 'store')?.why).toContain('"/proc/nope/store"');
    const saved = await runCli(['save', `${ROOT}/docs/examples`, '--project', 'p'], env);
    expect(saved.stderr).toBe(
      'Cannot open the store "/proc/nope/store": "/proc/nope" cannot be made (ENOENT)\n',
    );
    expect(saved.code).toBe(1);
  },
);

test.each<[string, () => Promise<Record<string, string>>, string, string, string]>([
  [
    'a variable that cannot be used',
    async () => ({ AGENT_PORT: 'x' }),
    'configuration',
    'fail',
    'AGENT_PORT',
  ],
  [
    'a store that cannot be written',
    async () => {
      const file = join(await tempFolder(), 'file');
      writeFileSync(file, '');
      return { FILE_STORAGE_PATH: join(file, 'store') };
    },
    'store',
    'fail',
    'FILE_STORAGE_PATH',
  ],
  [
    'a project that is not there',
    async () => ({ SUPABASE_URL: await nowhere() }),
    'project',
    'fail',
    'ECONNREFUSED',
  ],
  [
    'the anon key',
    async () => ({ SUPABASE_SERVICE_KEY: inject('stack').SUPABASE_ANON_KEY }),
    'configuration',
    'fail',
    '"anon"',
  ],
  [
    'a publishable key',
    async () => ({ SUPABASE_SERVICE_KEY: inject('stack').SUPABASE_PUBLISHABLE_KEY }),
    'configuration',
    'fail',
    'publishable',
  ],
  ['a key that is none', async () => ({ SUPABASE_SERVICE_KEY: 'a.b.c' }), 'key', 'fail', 'refused'],
  ['no bucket yet', async () => ({}), 'bucket', 'warn', 'first upload'],
  [
    'a public bucket',
    async () => ({ SUPABASE_BUCKET: await makeBucket(true) }),
    'bucket',
    'fail',
    'public',
  ],
  [
    'migrations that are missing',
    () => behind(/storage_list_changes/, 404, { code: 'PGRST202' }),
    'migrations',
    'fail',
    'db push',
  ],
  [
    'a function that is missing',
    () => behind(/functions/, 404, {}),
    'function',
    'fail',
    'functions deploy',
  ],
  [
    'a function that the platform guards itself',
    () => behind(/generations\/projects/, 401, { message: 'Missing authorization header' }),
    'function',
    'fail',
    'verify_jwt',
  ],
  [
    'a clock that is off',
    () =>
      behind(/storage\/v1\/status/, 200, {}, { date: new Date(Date.now() + 90_000).toUTCString() }),
    'clock',
    'warn',
    'NTP',
  ],
  [
    'storage that does not keep its word',
    () => behind(/object\/list/, 500, {}, {}, true),
    'round trip',
    'fail',
    'cannot list',
  ],
])('%s is found', async (_, change, name, status, words) => {
  const env = await hostEnvironment(await change());
  const diagnosis = await diagnose(env);
  const found = diagnosis.checks.find((check) => check.name === name);
  expect(found, JSON.stringify(diagnosis)).toMatchObject({ status });
  expect(`${found!.why} ${found!.whatToDo}`).toContain(words);
  expect(diagnosis.ok).toBe(status !== 'fail');
  expect(JSON.stringify(diagnosis)).not.toContain(env.SUPABASE_SERVICE_KEY);
});

test('what fails is told by the exit code, and what hangs on it is not tried', async () => {
  const env = await hostEnvironment({ SUPABASE_URL: await nowhere() });
  const ran = await runCli(['doctor'], env);
  expect(ran.code).toBe(1);
  expect(ran.stdout).toMatch(/✗ project +.*ECONNREFUSED\n +→ Check SUPABASE_URL/);
  expect(ran.stdout).toMatch(/! round trip +not tried/);
});

test.each<[string, Parameters<typeof makeHost>[0], string, RegExp]>([
  [
    'is sound',
    {},
    'pass',
    /"NAME": reads its own, deletes its own, writes into "BUCKET", and does not end/,
  ],
  ['ends soon', { expiresAt: inDays(3) }, 'warn', /and ends .* hosts rotate NAME/],
  ['ends late', { expiresAt: inDays(90), delete: 'none' }, 'pass', /deletes nothing.* and ends/],
  ['has ended', { expiresAt: inDays(-1) }, 'fail', /has ended, or was revoked/],
  ['is for another bucket', { bucket: 'other' }, 'warn', /Set SUPABASE_BUCKET=other/],
])('the key of a host that %s', async (_, rights, status, words) => {
  const bucket = uniqueId('bucket');
  const host = await makeHost({ bucket, ...rights });
  const { SUPABASE_SERVICE_KEY: _secret, ...env } = await hostEnvironment({
    SUPABASE_BUCKET: bucket,
    HOST_KEY: host.key,
  });
  const diagnosis = await diagnose(env);
  const key = diagnosis.checks.find(({ name }) => name === 'key')!;
  expect(key, JSON.stringify(diagnosis)).toMatchObject({ status });
  const said = `${key.why} ${key.whatToDo}`
    .replaceAll(host.name, 'NAME')
    .replaceAll(bucket, 'BUCKET');
  expect(said).toMatch(words);
  expect(diagnosis.ok).toBe(status !== 'fail');
  expect(JSON.stringify(diagnosis)).not.toContain(host.key);
  // What a key cannot open is not tried.
  const trip = diagnosis.checks.find(({ name }) => name === 'round trip')!;
  expect(trip.status).toBe(status === 'fail' ? 'warn' : 'pass');
  const { data } = await serviceClient().storage.from(bucket).list();
  expect(data ?? []).toEqual([]);
});

test.each<[string, RegExp, number, string]>([
  ['takes no upload', /upload\/sign\/.*token=/, 500, 'cannot put'],
  ['gives nothing back', /object\/sign\/.*token=/, 404, 'cannot sign and get'],
  ['answers with an error', /hosts\/scratch/, 500, 'Cannot try a round trip'],
])(
  'by the key of a host: storage that %s is found, and nothing is left',
  async (_, at, code, words) => {
    const bucket = uniqueId('bucket');
    const host = await makeHost({ bucket });
    const { SUPABASE_SERVICE_KEY: _secret, ...env } = await hostEnvironment({
      ...(await behind(at, code, {})),
      SUPABASE_BUCKET: bucket,
      HOST_KEY: host.key,
    });
    const { checks } = await diagnose(env);
    const trip = checks.find(({ name }) => name === 'round trip')!;
    expect(trip).toMatchObject({ status: 'fail', why: expect.stringContaining(words) });
    const { data } = await serviceClient().storage.from(bucket).list();
    expect(data ?? []).toEqual([]);
  },
);

test('a host has one key, of either kind', async () => {
  const { key } = await makeHost();
  const env = await hostEnvironment();
  for (const [more, words] of [
    [{ HOST_KEY: key }, 'both set'],
    [{ SUPABASE_SERVICE_KEY: '', HOST_KEY: 'cbh_short' }, '43 characters'],
    [{ SUPABASE_SERVICE_KEY: key }, 'set it as HOST_KEY'],
    [{ SUPABASE_SERVICE_KEY: '' }, 'HOST_KEY, SUPABASE_SERVICE_KEY or'],
  ] as const) {
    const { ok, checks } = await diagnose({ ...env, ...more });
    expect(ok).toBe(false);
    expect(checks[0]!.why).toContain(words);
    expect(checks[0]!.why).not.toContain(key);
  }
});

function inDays(days: number): string {
  return new Date(Date.now() + days * 24 * 3_600_000).toISOString();
}

/** A port on which nobody listens. */
async function nowhere(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `http://127.0.0.1:${port}`;
}

/** The stack with one thing in it that answers otherwise. */
async function behind(
  match: RegExp,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
  withBucket = false,
): Promise<Record<string, string>> {
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const fault: Fault = { kind: 'answer', status, body, headers };
  proxy.rule = (_, path) => (match.test(path) ? fault : null);
  return {
    SUPABASE_URL: proxy.url,
    ...(withBucket ? { SUPABASE_BUCKET: await makeBucket(false) } : {}),
  };
}

test.skipIf(process.platform !== 'linux')('locks that do nothing are found', async () => {
  const storePath = await tempFolder();
  const env = { FILE_STORAGE_PATH: storePath, CACHE_PATH: await tempFolder() };
  const { stdout } = await run(
    'python3',
    [
      ...[`${ROOT}/tests/support/seccomp.py`, 'no-locks', process.execPath],
      ...[builtProgram('node-agent/bin'), 'doctor', '--json'],
    ],
    { env: { ...env, USE_CLOUD_STORAGE: 'false' } },
  );
  const { checks } = JSON.parse(stdout) as Diagnosis;
  expect(checks.find(({ name }) => name === 'locks')).toMatchObject({
    status: 'fail',
    why: expect.stringContaining('do nothing'),
    what_to_do: expect.stringContaining('FILE_STORAGE_PATH'),
  });
});

test.skipIf(process.platform !== 'linux')(
  'a limit of open files that is too low is named before anything is done',
  async () => {
    const env = { FILE_STORAGE_PATH: await tempFolder(), CACHE_PATH: await tempFolder() };
    const command = `ulimit -n 40; "${process.execPath}" "${builtProgram('node-agent/bin')}" save "${ROOT}/docs" --project p`;
    const { code, stderr } = await run('sh', ['-c', command], { env });
    expect([code, stderr]).toEqual([5, expect.stringContaining('40 files')]);
    expect(stderr).toContain('ulimit -n');
  },
);

test('a bucket that holds nothing is told of where another holds generations', async () => {
  const env = await hostEnvironment();
  const bucket = await makeBucket(false);
  const archives = serviceClient().storage.from(bucket);
  const { error } = await archives.upload(`${uniqueId()}/generations/v1__g.tar.gz`, 'x');
  expect(error).toBeNull();
  const find = ({ checks }: Diagnosis) => checks.find(({ name }) => name === 'bucket')!;
  const wrong = find(await diagnose(env));
  expect(wrong.status).toBe('warn');
  expect(wrong.whatToDo).toMatch(/^Set SUPABASE_BUCKET=/);
  expect(find(await diagnose({ ...env, SUPABASE_BUCKET: bucket })).status).toBe('pass');
});

test('a bucket that takes little is told of, with its limit', async () => {
  const bucket = uniqueId('bucket');
  const limits = { public: false, fileSizeLimit: 1000 };
  expect((await serviceClient().storage.createBucket(bucket, limits)).error).toBeNull();
  await serviceClient().storage.from(bucket).upload('p/generations/v1__g.tar.gz', 'x');
  const { checks } = await diagnose(await hostEnvironment({ SUPABASE_BUCKET: bucket }));
  const found = checks.find(({ name }) => name === 'bucket');
  expect(found).toMatchObject({ status: 'warn', why: expect.stringContaining('1000 bytes') });
});

test('a unit that keeps things elsewhere than this command is found', async () => {
  const folder = await tempFolder();
  const unit = join(folder, 'codebegen-storage.service');
  const env = { FILE_STORAGE_PATH: join(folder, 'store'), CACHE_PATH: join(folder, 'cache') };
  const check = async (...lines: string[]) => {
    writeFileSync(unit, ['[Service]', `WorkingDirectory=${folder}`, ...lines].join('\n'));
    const { checks } = await diagnose(env, { unit });
    return checks.find(({ name }) => name === 'service');
  };
  expect(await check()).toMatchObject({
    status: 'warn',
    why: expect.stringContaining(`"${join(folder, 'storage/projects')}" as FILE_STORAGE_PATH`),
  });
  const same = `Environment="FILE_STORAGE_PATH=${folder}/store" CACHE_PATH=${folder}/cache`;
  expect(await check(same)).toMatchObject({ status: 'pass' });
  const file = join(folder, 'settings.env');
  writeFileSync(file, `CACHE_PATH=${folder}/other\n`);
  // What the file says goes before what the unit says.
  expect(await check(same, `EnvironmentFile=-${file}`)).toMatchObject({
    status: 'warn',
    why: expect.stringContaining('CACHE_PATH'),
  });
  expect((await diagnose(env, { unit: `${unit}.not` })).checks).not.toContainEqual(
    expect.objectContaining({ name: 'service' }),
  );
});

test('a bucket that takes archives alone is told of: nothing can be written down there of projects', async () => {
  const bucket = uniqueId('bucket');
  const types = { public: false, allowedMimeTypes: ['application/gzip'] };
  expect((await serviceClient().storage.createBucket(bucket, types)).error).toBeNull();
  const env = await hostEnvironment({ SUPABASE_BUCKET: bucket });
  const check = (await diagnose(env)).checks.find(({ name }) => name === 'bucket')!;
  expect(check).toMatchObject({
    status: 'warn',
    why: expect.stringContaining('application/json'),
  });
});
