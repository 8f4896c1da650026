/** Downloads from a replica: of the asked region, of the function's own, and while storage is away. */
import { readFile } from 'node:fs/promises';
import { beforeAll, describe, expect, inject, onTestFinished, test } from 'vitest';
import type { Download } from '../../functions/_shared/contract/downloads.ts';
import { readReplicas } from '../../functions/_shared/replicas.ts';
import type { Storage } from '../../node-agent/index.ts';
import type { ReplicaInput } from '../../node-agent/replicas/replica.ts';
import { makeUser, type TestUser, uniqueId } from '../support/cloud.ts';
import { asUser, callInProcess } from '../support/edge.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { even, s3Replica, supabaseReplica } from '../support/replica.ts';
import { openTestStorage, testCloud, waitForStatus } from '../support/storage.ts';

const MONTH = 30 * 24 * 3600;

let owner: TestUser;
beforeAll(async () => {
  owner = await makeUser();
});

type Made = Awaited<ReturnType<typeof s3Replica>> | Awaited<ReturnType<typeof supabaseReplica>>;

/** A generation that a replica in `eu-central-1` has, and what the function is told of that. */
async function copied(make: () => Promise<Made> = s3Replica) {
  const bucket = uniqueId('bucket');
  const storage = await openTestStorage({ cloud: testCloud(bucket), background: true });
  const { input } = await make();
  await storage.replicas.add(input);
  onTestFinished(() => storage.replicas.remove(input.name, { forget: true }));
  const project = await save(storage);
  await even(storage, input.name);
  const replicas = JSON.stringify({ [input.name]: await secretsOf(input) });
  return { storage, bucket, project, input, replicas };
}

async function save(storage: Storage): Promise<string> {
  const projectId = uniqueId();
  const receipt = await storage.save({ projectId, ownerId: owner.id, files: { 'a.py': 'one' } });
  await waitForStatus(storage, receipt, 'verified');
  return projectId;
}

async function secretsOf({ kind, url, bucket, keyId, keyFile }: ReplicaInput) {
  const secret = (await readFile(keyFile, 'utf8')).trim();
  return { kind, url, bucket, region: 'eu-central-1', secret, ...(keyId && { key_id: keyId }) };
}

async function download(
  environment: Record<string, string>,
  project: string,
  query = '',
  body: object = {},
): Promise<Download> {
  const call = asUser(callInProcess(environment), owner);
  const answer = await call('POST', `/projects/${project}/1/download${query}`, body);
  expect(answer.status).toBe(200);
  return answer.json();
}

const bytesAt = async (url: string) => {
  const answer = await fetch(url);
  expect(answer.status).toBe(200);
  expect(answer.headers.get('content-disposition')).toContain('-v1.tar.gz');
  return (await answer.arrayBuffer()).byteLength;
};

describe.each([
  ['S3', s3Replica],
  ['Supabase', supabaseReplica],
] as const)('by %s', (_, make) => {
  test('of the asked region, else of where the function runs, else the primary', async () => {
    const { bucket, project, replicas, input } = await copied(make);
    const primary = `${inject('stack').SUPABASE_URL}/storage/v1/object/sign/${bucket}/`;
    const environment = { REPLICAS: replicas };
    for (const [more, query, region] of [
      [{}, '?region=eu-central-1', 'eu-central-1'],
      [{ SB_REGION: 'eu-central-1' }, '', 'eu-central-1'],
      [{ SB_REGION: 'eu-central-1' }, '?region=us-east-1', null],
      [{ SB_REGION: 'us-east-1' }, '', null],
      [{}, '', null],
    ] as const) {
      const got = await download({ ...environment, ...more }, project, query);
      expect([got.region, got.url.startsWith(primary)]).toEqual([region, region === null]);
      if (region !== null) expect(got.url).toContain(`${input.url}/`);
      expect(await bytesAt(got.url)).toBe(got.size);
    }
  });

  test('of any region while storage is away', async () => {
    const { project, replicas } = await copied(make);
    const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
    const environment = { REPLICAS: replicas, SUPABASE_URL: proxy.url };
    for (const kind of ['down', 'stall'] as const) {
      proxy.rule = (_, path) => (path.startsWith('/storage/') ? { kind } : null);
      const got = await download(environment, project);
      expect(got.region).toBe('eu-central-1');
      expect(await bytesAt(got.url)).toBe(got.size);
    }
  });
});

test('what is not there yet, or not any more, is signed where it is', async () => {
  const { storage, input, replicas } = await copied();
  await storage.replicas.remove(input.name);
  const project = await save(storage);
  const environment = { REPLICAS: replicas, SB_REGION: 'eu-central-1' };
  expect((await download(environment, project)).region).toBeNull();
  expect((await download(environment, project, '?region=eu-central-1')).region).toBeNull();
});

test('S3 signs for a week at most, and the answer says so', async () => {
  const { project, replicas } = await copied();
  const got = await download({ REPLICAS: replicas }, project, '?region=eu-central-1', {
    expires_in: MONTH,
  });
  const seconds = (Date.parse(got.expires_at) - Date.now()) / 1000;
  expect(Math.abs(seconds - 7 * 24 * 3600)).toBeLessThan(60);
});

test('another user is signed nothing', async () => {
  const { project, replicas } = await copied();
  const call = asUser(callInProcess({ REPLICAS: replicas }), await makeUser());
  const asked = await call('POST', `/projects/${project}/1/download?region=eu-central-1`, {});
  expect(asked.status).toBe(404);
});

test('a region that is none is refused', async () => {
  const call = asUser(callInProcess(), owner);
  const asked = await call(
    'POST',
    `/projects/p/1/download?region=${encodeURIComponent('a b')}`,
    {},
  );
  expect([asked.status, (await asked.json()).detail]).toEqual([
    400,
    expect.stringContaining('the name of a region'),
  ]);
});

test.each([
  ['', 0],
  ['{', 0],
  ['[]', 0],
  ['{"far": {"kind": "ftp"}}', 0],
  ['{"far": {"kind": "s3", "url": "https://x", "region": "r", "bucket": "b", "secret": "s"}}', 0],
  [
    '{"far": {"kind": "s3", "url": "https://x", "region": "r", "bucket": "b", "key_id": "i", "secret": "s"}}',
    1,
  ],
])('REPLICAS=%s', (json, count) => {
  expect(readReplicas(json).size).toBe(count);
});
