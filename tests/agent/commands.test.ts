/** Every command: its help, what it prints for people and for programs, and its exit codes. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, test } from 'vitest';
import { openStorage, readConfig } from '../../node-agent/index.ts';
import { uniqueId } from '../support/cloud.ts';
import { hostEnvironment } from '../support/host.ts';
import { PythonStore } from '../support/python-store.ts';
import { builtProgram, collect, type Ran, runCli } from '../support/run.ts';
import { waitForStatus } from '../support/storage.ts';
import { tempFolder, writeFiles } from '../support/temp.ts';

type Place = {
  env: Record<string, string>;
  /** With two versions. */
  project: string;
  /** An empty folder, where the command runs. */
  folder: string;
  /** A folder with a file in it. */
  source: string;
};
type Row = {
  args: (place: Place) => string[];
  /** What people read. */
  human: RegExp;
  /** What programs read: the last object, where there are several. */
  json: object;
  /** Whether the two versions are in the cloud; else the cloud is off. */
  cloud?: boolean;
};

const OWNER = '3f0e1c52-93b5-4d0f-8f6a-0d3c3f5a1b11';
const TABLE: Record<string, Row> = {
  init: {
    args: () => ['init', '--force'],
    human: /^Wrote \.env\nNext: codebegen-storage doctor\n$/,
    json: { file: expect.stringMatching(/\.env$/), bucket: null, made: null },
  },
  doctor: {
    args: () => ['doctor'],
    human: /^✓ configuration .*\n(✓ .*\n){14}! host key .*\n +→ .*\n✓ round trip /,
    json: { ok: true, checks: expect.any(Array) },
    cloud: true,
  },
  save: {
    args: ({ project, source }) => ['save', source, '--project', project],
    human: /^p-\S+ v3 \S+: saved, 1 file, 4 B, local\n$/,
    json: { version: 4, created: true, file_count: 1, bytes: 4, status: 'local' },
  },
  get: {
    args: ({ project }) => ['get', project, '1'],
    human: /^\/.*\/source\n$/,
    json: { version: 1, from: 'store', stale: false, source_path: expect.any(String) },
  },
  url: {
    args: ({ project }) => ['url', project, '1'],
    human: /^http:\/\/\S+token=\S+\n$/,
    json: { url: expect.any(String), expires_at: expect.any(String), size: expect.any(Number) },
    cloud: true,
  },
  list: {
    args: ({ project }) => ['list', project],
    human:
      /^VERSION +GENERATION +STATUS +HERE +ACTIVE +FILES +BYTES +CREATED\nv2 .*\nv1 .* local +yes +- +1 +1 B .*\n$/,
    json: { items: [{ version: 2, status: 'local' }, { version: 1 }], next_cursor: null },
  },
  show: {
    args: ({ project }) => ['show', project, '2'],
    human: /^generation {2}p-\S+ v2 \S+\nstatus {6}local\n(.*\n){6}$/,
    json: { version: 2, failure: null, object_key: expect.any(String), uploaded_at: null },
  },
  diff: {
    args: ({ project }) => ['diff', project, '1', '2'],
    human: /^M a\.txt\n$/,
    json: { from: 1, to: 2, added: [], removed: [], modified: [{ path: 'a.txt' }] },
  },
  open: {
    args: ({ project }) => ['open', project, '--all'],
    human: /^2 laid out\n$/,
    json: { opened: 2, problems: [] },
  },
  activate: {
    args: ({ project }) => ['activate', project, '1'],
    human: /^p-\S+ v1 is active\n$/,
    json: { version: 1 },
  },
  delete: {
    args: ({ project }) => ['delete', project, '1'],
    human: /^p-\S+ v1 \S+: deleted\n$/,
    json: { version: 1, status: 'deleted', deleted: false },
  },
  undelete: {
    args: ({ project }) => ['undelete', project, '1'],
    human: /^p-\S+ v1 \S+: was not deleted\n$/,
    json: { version: 1, undeleted: false },
  },
  purge: {
    args: () => ['purge'],
    human: /^purged 0 generations and 0 replaced contents, 0 B\n$/,
    json: { generations: 0, contents: 0, freed_bytes: 0 },
  },
  owner: {
    args: ({ project }) => ['owner', project, OWNER],
    human: new RegExp(`^p-\\S+ is now of ${OWNER}\\n$`),
    json: { owner_id: OWNER, changed: false },
  },
  status: {
    args: () => ['status'],
    human:
      /^store +\/.*\ndisk +[0-9.]+ .* free.*\ndaemon +none .*\ncache +.*: 0 copies.*\ncloud +off\ngenerations +2 local\noutbox +2 owed, the oldest since .*Z, 0 parked\n$/,
    json: { generations: { local: 2 }, outbox: { owed: 2, parked: 0, paused: false } },
  },
  uploads: {
    args: () => ['uploads'],
    human: /^PROJECT +VERSION +STEP .*\np-\S+ +v1 +reserve .*\np-\S+ +v2 .*\n$/,
    json: { items: [{ step: 'reserve', due_at: expect.any(String) }, {}], next_cursor: null },
  },
  cleanup: {
    args: () => ['cleanup'],
    human: /^0 cached copies evicted, 0 B\n$/,
    json: { evicted: 0, bytes: 0 },
  },
  verify: {
    args: ({ project }) => ['verify', project, '--no-cloud'],
    human: /^2 checked, 0 damaged\n$/,
    json: { checked: 2, damaged: 0, repaired: 0, after: expect.stringMatching(/^p-.*\/2$/) },
  },
  restore: {
    args: ({ project }) => ['restore', project],
    human: /^found +2\nrestored +0, 0 B\nhere +2\ndeleted +0 deletions .*\nfailed +0\n$/,
    json: { found: 2, restored: 0, bytes: 0, there: 2, deleted: 0, failed: 0, problems: [] },
    cloud: true,
  },
  stats: {
    args: () => ['stats', '--days', '3'],
    human: /^DAY +SAVES .*\n(20.*\n)*20\S+ +[02] .*\n$/,
    json: { days: [{}, {}, { saved_bytes: expect.any(Number) }] },
  },
  webhooks: {
    args: () => ['webhooks'],
    human: /^ID +URL +EVENTS +OWED +SINCE +PARKED +FAILURE\n$/,
    json: { items: [] },
  },
  hosts: {
    args: () => ['hosts'],
    human: /^HOST +READ +DELETE +PROJECTS +SEEN +KEY\n/,
    json: { items: expect.any(Array) },
    cloud: true,
  },
  replicas: {
    args: () => ['replicas'],
    human: /^NAME +KIND +BUCKET +REGION +COPIED +OWED +TO REMOVE +SINCE +FAILURE\n$/,
    json: { items: [] },
    cloud: true,
  },
  migrate: {
    args: () => ['migrate'],
    human: /^found +2\nmigrated +0\nknown +2\nverified .*\nfailed +0\n$/,
    json: { found: 2, migrated: 0, known: 2, verified: null, failed: 0, problems: [] },
  },
};

describe('a command that ends well', () => {
  test.each(Object.entries(TABLE))('%s', async (_, { args, human, json, cloud }) => {
    const place = await makePlace(cloud === true);
    const read = await runCli(args(place), place.env, place.folder);
    expect(read).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(human) });
    // Colour and what moves a cursor are for terminals.
    expect(read.stdout).not.toContain('\u001b');
    const parsed = await runCli([...args(place), '--json'], place.env, place.folder);
    expect([parsed.code, parsed.stderr]).toEqual([0, '']);
    const [line = ''] = parsed.stdout.trim().split('\n').slice(-1);
    expect(JSON.parse(line)).toMatchObject(json);
    expect(namesIn(JSON.parse(line)).filter((name) => !/^[a-z0-9_]+$/.test(name))).toEqual([]);
  });

  test.each([
    ['SIGTERM', 0],
    ['SIGINT', 130],
  ] as const)('start, until %s: exit %i', async (signal, code) => {
    const { env } = await makePlace(false);
    const child = spawn(process.execPath, [builtProgram('node-agent/bin'), 'start', '--json'], {
      env: { ...process.env, ...env, AGENT_PORT: '0' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const output = collect(child);
    const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
    expect((await fetch(`${JSON.parse(line).url}/healthz`)).status).toBe(200);
    child.kill(signal);
    expect(await once(child, 'close')).toEqual([code, null]);
    expect(output().stderr).toContain('"msg":"stopping');
  });
});

const AWAY = { USE_CLOUD_STORAGE: 'true', SUPABASE_URL: 'http://127.0.0.1:9' };
const REFUSED = { USE_CLOUD_STORAGE: 'true', SUPABASE_SERVICE_KEY: 'a.b.c' };

describe('a command that fails says so in a sentence on stderr, or as a problem on stdout', () => {
  test.each<[string, string[] | ((place: Place) => string[]), number, string, object?]>([
    ['init', ['init', '--bucket', '../x'], 1, 'invalid_input'],
    ['start', ['start'], 1, 'invalid_input', { AGENT_HOST: '0.0.0.0' }],
    ['save', ['save', 'nothing', '--project', 'p'], 1, 'invalid_input'],
    ['save', ['save', '.', '--project', 'p', '--owner', 'me'], 2, 'invalid_input'],
    ['save', ['save', '.'], 2, 'invalid_input'],
    ['get', ({ project }) => ['get', project, '9'], 4, 'not_found'],
    ['get', ['get', 'p', '1'], 5, 'unavailable', AWAY],
    ['url', ({ project }) => ['url', project, '1'], 1, 'conflict'],
    ['list', ['list', '../x'], 2, 'invalid_input'],
    ['show', ({ project }) => ['show', project, '9'], 4, 'not_found'],
    ['diff', ({ project }) => ['diff', project, '1', '9'], 4, 'not_found'],
    ['activate', ({ project }) => ['activate', project, '9'], 4, 'not_found'],
    ['delete', ({ project }) => ['delete', project, '9'], 4, 'not_found'],
    ['delete', ({ project }) => ['delete', project], 2, 'invalid_input'],
    ['owner', ['owner', 'nobody', OWNER], 4, 'not_found'],
    ['owner', ['owner', 'nobody', OWNER], 5, 'unavailable', AWAY],
    ['owner', ['owner', 'nobody', OWNER], 6, 'unauthenticated', REFUSED],
    ['status', ['status'], 1, 'invalid_input', { UPLOAD_CONCURRENCY: 'many' }],
    ['uploads', ['uploads', '--limit', '0'], 2, 'invalid_input'],
    ['cleanup', ['cleanup', '--store', '--older-than', '1d'], 5, 'unavailable'],
    ['verify', ['verify', '--sample', '200'], 2, 'invalid_input'],
    ['migrate', ['migrate', '--owners', 'nothing.json'], 1, 'invalid_input'],
    ['undelete', ({ project }) => ['undelete', project, '9'], 4, 'not_found'],
    ['undelete', ({ project }) => ['undelete', project], 2, 'invalid_input'],
    ['restore', ['restore'], 5, 'unavailable'],
    ['restore', ['restore', '--dry-run'], 5, 'unavailable', AWAY],
    ['restore', ['restore', '--dry-run'], 6, 'unauthenticated', REFUSED],
    ['restore', ['restore', '../x'], 2, 'invalid_input'],
    ['list', ['list', '--cloud'], 5, 'unavailable', AWAY],
    ['stats', ['stats', '--days', '0'], 2, 'invalid_input'],
    ['webhooks', ['webhooks', 'add', 'http://example.com/'], 1, 'invalid_input'],
    ['webhooks', ['webhooks', 'remove', 'wh_1'], 4, 'not_found'],
    ['webhooks', ['webhooks', 'sing'], 2, 'invalid_input'],
    ['hosts', ['hosts'], 5, 'unavailable'],
    ['hosts', ['hosts', 'add', 'a'], 5, 'unavailable', AWAY],
    ['hosts', ['hosts', 'add', 'a'], 6, 'unauthenticated', REFUSED],
    ['hosts', ['hosts', 'add', 'two words'], 2, 'invalid_input'],
    ['hosts', ['hosts', 'add', 'a', '--read', 'some'], 2, 'invalid_input'],
    ['hosts', ['hosts', 'add', 'a', '--projects', 'a,../b'], 2, 'invalid_input'],
    ['hosts', ['hosts', 'assign', 'a'], 1, 'invalid_input'],
    ['doctor', ['doctor', 'too', 'many'], 2, 'invalid_input'],
  ])('%s %j: exit %i, %s', async (_, args, code, problem, more) => {
    const place = await makePlace(false);
    const given = typeof args === 'function' ? args(place) : args;
    const env = { ...place.env, ...more };
    const read = await runCli(given, env, place.folder);
    expect(read).toMatchObject({ code, stdout: '' });
    expect(read.stderr).toMatch(/^[A-Z].*\S\n$/);
    const parsed = await runCli([...given, '--json'], env, place.folder);
    expect([parsed.code, parsed.stderr]).toEqual([code, '']);
    expect(JSON.parse(parsed.stdout)).toMatchObject({ code: problem, detail: expect.any(String) });
  });

  test('doctor ends with 1 where a check fails: what it found is the answer', async () => {
    const { env } = await makePlace(false);
    const ran = await runCli(['doctor', '--json'], { ...env, CACHE_TTL_HOURS: 'x' });
    expect([ran.code, ran.stderr, JSON.parse(ran.stdout).ok]).toEqual([1, '', false]);
  });

  test.each<[string, (ran: Ran) => object]>([
    ['verify', ({ stdout }) => JSON.parse(stdout.trim().split('\n').at(-1)!)],
    ['migrate', ({ stdout }) => JSON.parse(stdout)],
  ])('%s ends with 3 where some of it failed, with the report', async (command, last) => {
    const { env, project } = await makePlace(false);
    const root = env.FILE_STORAGE_PATH!;
    const ref = { projectId: project, version: 3, generationId: 'old' };
    new PythonStore(root).versioned(ref, { 'main.py': 'x' }, { 'manifest.json': 'broken' });
    const storage = await openStorage(readConfig(env));
    appendFileSync(
      join((await storage.get({ projectId: project, version: 1 })).path, 'source/a.txt'),
      '!',
    );
    await storage.close();
    const ran = await runCli([command, '--json'], env);
    expect([ran.code, ran.stderr]).toEqual([3, '']);
    expect(last(ran)).toMatchObject(command === 'verify' ? { damaged: 1 } : { failed: 1 });
  });
});

test('help has usage, options and examples, of every command', async () => {
  const help = await runCli(['--help']);
  expect([help.code, help.stderr]).toEqual([0, '']);
  const commands = [...help.stdout.matchAll(/^ {2}([a-z]+) /gm)].map(([, name]) => name!);
  expect(commands.sort()).toEqual([...Object.keys(TABLE), 'help', 'start'].sort());
  for (const command of commands.filter((name) => name !== 'help')) {
    const ran = await runCli([command, '--help']);
    expect([ran.code, ran.stderr]).toEqual([0, '']);
    expect(ran.stdout).toMatch(new RegExp(`^Usage: codebegen-storage ${command} `));
    expect(ran.stdout, command).toContain('--json');
    expect(ran.stdout, command).toMatch(/\nExamples?:\n +\$ /);
  }
});

async function makePlace(cloud: boolean): Promise<Place> {
  const env = await hostEnvironment({ USE_CLOUD_STORAGE: String(cloud) });
  const folder = await tempFolder();
  const source = join(await tempFolder(), 'out');
  mkdirSync(source);
  await writeFiles(source, { 'new.txt': 'new\n' });
  const project = uniqueId();
  const storage = await openStorage(readConfig(env));
  for (const text of ['1', '2']) {
    const receipt = await storage.save({ projectId: project, files: { 'a.txt': text } });
    if (cloud) await waitForStatus(storage, receipt, 'verified');
  }
  await storage.close();
  return { env, project, folder, source };
}

/** The names of all fields. */
function namesIn(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(namesIn);
  if (value === null || typeof value !== 'object') return [];
  return Object.entries(value).flatMap(([name, inner]) => [name, ...namesIn(inner)]);
}
