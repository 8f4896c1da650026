/** The agent is killed at random while it saves, replaces, deletes and uploads, again and again. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, inject, test } from 'vitest';
import type { Storage } from '../../node-agent/index.ts';
import { serviceClient, uniqueId } from '../support/cloud.ts';
import { makeRandom } from '../support/random.ts';
import { builtProgram, collect } from '../support/run.ts';
import { openTestStorage, testCloud } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';
import { readTexts } from '../support/tree.ts';
import { filesOf, type LoadLine } from './load.ts';

/** `CRASH_ROUNDS=200` is the long form. */
const ROUNDS = Number(process.env.CRASH_ROUNDS ?? 8);
/** What `CRASH_SEED` repeats. */
const SEED = Number(process.env.CRASH_SEED ?? Date.now() % 1e6);

test(`killed ${ROUNDS} times under load (seed ${SEED}), nothing is lost and all is in the cloud in the end`, {
  timeout: 60_000 + ROUNDS * 10_000,
}, async () => {
  const random = makeRandom(SEED);
  const storePath = await tempFolder();
  const bucket = uniqueId('bucket');
  const projectId = uniqueId();
  const stack = inject('stack');
  const env = {
    ...process.env,
    NODE_COMPILE_CACHE: await tempFolder(),
    FILE_STORAGE_PATH: storePath,
    CACHE_PATH: await tempFolder(),
    USE_CLOUD_STORAGE: 'true',
    SUPABASE_URL: stack.SUPABASE_URL,
    SUPABASE_SERVICE_KEY: stack.SUPABASE_SERVICE_KEY,
    SUPABASE_BUCKET: bucket,
  };
  const lines: LoadLine[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const child = spawn(
      process.execPath,
      [builtProgram('tests/crash/load'), projectId, String(round)],
      { env, stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const output = collect(child);
    await once(child.stdout, 'data');
    // When is what is random here: nothing is waited for.
    await sleep(random() * 700);
    child.kill('SIGKILL');
    await once(child, 'close');
    expect(output().stderr).toBe('');
    // The last line may be cut.
    for (const line of output().stdout.split('\n').slice(0, -1)) lines.push(JSON.parse(line));
  }
  const expected = whatMayBe(lines);
  expect(expected.size).toBeGreaterThan(ROUNDS);

  const problems: unknown[] = [];
  const storage = await openTestStorage({
    storePath,
    cloud: testCloud(bucket),
    onProblem: (error) => problems.push(error),
  });
  const found = new Map<number, string>();
  for (const [version, seeds] of expected) {
    const digest = await contentOf(storage, projectId, version, seeds);
    if (digest !== null) found.set(version, digest);
  }
  while ((await storage.status()).outbox.owed > 0) await storage.drain(1000);
  expect((await storage.status()).outbox).toMatchObject({ owed: 0, parked: 0 });
  expect(problems).toEqual([]);
  await expectInCloud(projectId, bucket, found);
});

/** The seeds that each version may hold; `null` where it may be gone. */
function whatMayBe(lines: LoadLine[]): Map<number, Set<number | null>> {
  const allowed = new Map<number, Set<number | null>>();
  for (const { event, version, seed } of lines) {
    const before = allowed.get(version) ?? new Set([null]);
    // What began may or may not have happened; what is done has.
    allowed.set(version, event === 'done' ? new Set([seed]) : new Set([...before, seed]));
  }
  return allowed;
}

async function contentOf(
  storage: Storage,
  projectId: string,
  version: number,
  seeds: Set<number | null>,
): Promise<string | null> {
  const found = await storage.get({ projectId, version }).catch((error: { code?: string }) => {
    if (error.code === 'not_found') return null;
    throw error;
  });
  if (found === null) {
    expect([...seeds], `v${version} is not there`).toContain(null);
    return null;
  }
  const text = readTexts(found.sourcePath);
  const candidates = [...seeds].filter((seed) => seed !== null).map(filesOf);
  expect(candidates).toContainEqual(text);
  return found.manifest.digest!;
}

async function expectInCloud(projectId: string, bucket: string, found: Map<number, string>) {
  const service = serviceClient();
  const rows: {
    version: number;
    digest: string;
    sha256: string;
    status: string;
    object_key: string;
  }[] = [];
  for (let from = 0; ; from += 500) {
    const { data } = await service
      .from('storage_generations')
      .select('version, digest, sha256, status, object_key')
      .eq('project_id', projectId)
      .neq('status', 'deleted')
      .order('version')
      .range(from, from + 499);
    rows.push(...data!);
    if (data!.length < 500) break;
  }
  expect(new Map(rows.map((row) => [row.version, row.digest]))).toEqual(
    new Map([...found].sort((a, b) => a[0] - b[0])),
  );
  expect(rows.filter((row) => row.status !== 'verified')).toEqual([]);
  const keys = new Set<string>();
  for (let offset = 0; ; offset += 500) {
    const folder = `${projectId}/generations`;
    const { data } = await service.storage.from(bucket).list(folder, { limit: 500, offset });
    for (const { name } of data!) keys.add(`${folder}/${name}`);
    if (data!.length < 500) break;
  }
  expect(keys).toEqual(new Set(rows.map((row) => row.object_key)));
  for (const row of rows) {
    const object = await service.storage.from(bucket).download(row.object_key);
    const bytes = Buffer.from(await object.data!.arrayBuffer());
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(row.sha256);
  }
}
