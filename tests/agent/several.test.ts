/** Two daemons and many commands on one store at once. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, inject, test } from 'vitest';
import { openCatalog } from '../support/catalog.ts';
import { serviceClient, uniqueId } from '../support/cloud.ts';
import { startDaemon } from '../support/daemon.ts';
import { runCli } from '../support/run.ts';
import { openTestStorage } from '../support/storage.ts';
import { tempFolder, writeFiles } from '../support/temp.ts';

/** Of each command, at once. */
const COUNT = 6;

type Named = { project_id: string; version: number };
const nameOf = ({ project_id, version }: Named) => `${project_id} v${version}`;

test('every job is done once, every version given once, and no lock is heard of', async () => {
  const storePath = await tempFolder();
  const bucket = uniqueId('bucket');
  const env = {
    LOG_LEVEL: 'warn',
    FILE_STORAGE_PATH: storePath,
    CACHE_PATH: await tempFolder(),
    NODE_COMPILE_CACHE: await tempFolder(),
    USE_CLOUD_STORAGE: 'true',
    SUPABASE_URL: inject('stack').SUPABASE_URL,
    SUPABASE_SERVICE_KEY: inject('stack').SUPABASE_SERVICE_KEY,
    SUPABASE_BUCKET: bucket,
  };
  const daemons = [(await startDaemon(env)).daemon, (await startDaemon(env)).daemon];
  const folder = await tempFolder();
  await writeFiles(folder, { 'a.txt': 'the same for all', 'b/c.txt': 'c' });
  const [shared, repeated] = [uniqueId('shared'), uniqueId('repeated')];

  const commands = Array.from({ length: COUNT }, () => [
    // Each gets a version of its own; all the others save the same one.
    runCli(['save', folder, '--project', shared, '--json'], env),
    runCli(
      ['save', folder, '--project', repeated, '--version', '1', '--generation', 'g', '--json'],
      env,
    ),
    runCli(['list'], env),
    runCli(['status'], env),
  ]).flat();
  const results = await Promise.all(commands);
  for (const { code, stdout, stderr } of results) {
    expect(code, stdout + stderr).toBe(0);
    expect(stderr).toBe('');
  }
  const saved = results
    .filter(({ stdout }) => stdout.startsWith('{"project_id"'))
    .map(({ stdout }) => JSON.parse(stdout) as Named & { created: boolean });
  const versions = saved.filter((each) => each.project_id === shared).map((each) => each.version);
  expect(versions.sort((a, b) => a - b)).toEqual(Array.from({ length: COUNT }, (_, i) => i + 1));
  const made = saved.filter((each) => each.project_id === repeated && each.created);
  expect(made).toHaveLength(1);

  const storage = await openTestStorage({ storePath, cloud: null });
  const named = [
    ...versions.map((version) => ({ project_id: shared, version })),
    { project_id: repeated, version: 1 },
  ];
  for (;;) {
    const summaries = await Promise.all(
      named.map(({ project_id: projectId, version }) => storage.show({ projectId, version })),
    );
    if (summaries.every(({ status }) => status === 'verified')) break;
    expect(summaries.filter(({ status }) => status === 'failed')).toEqual([]);
    await sleep(20);
  }
  // What was done, not what was begun: a command ends after ten seconds, and what it was about to send is sent by
  // who comes next.
  const db = openCatalog(storePath);
  for (const kind of ['generation.settled', 'generation.uploaded', 'generation.verified']) {
    const bodies = db.prepare('select body from events where kind = ?').all(kind);
    const done = bodies.map(({ body }) => JSON.parse(String(body)) as Named);
    expect(done.map(nameOf).sort(), kind).toEqual(named.map(nameOf).sort());
  }
  db.close();
  const objects = serviceClient().storage.from(bucket);
  for (const [project, count] of [
    [shared, COUNT],
    [repeated, 1],
  ] as const) {
    const { data } = await objects.list(`${project}/generations`);
    expect(data, project).toHaveLength(count);
  }
  for (const daemon of daemons) expect(daemon.output().stderr).toBe('');
});
