/**
 * A host is killed at every request by which it copies into a replica, or removes what is to go: asked of the database,
 * or of the replica. Whoever comes after it makes it even.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, inject, test } from 'vitest';
import type { Storage } from '../../node-agent/index.ts';
import { serviceClient, uniqueId } from '../support/cloud.ts';
import type { FakeS3 } from '../support/fake-s3.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { even, keysIn, makeDue, s3Replica } from '../support/replica.ts';
import { builtProgram } from '../support/run.ts';
import { openTestStorage, testCloud, waitForStatus } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';
import { quiet } from '../support/two-hosts.ts';
import { eachStep } from './each-step.ts';

/** Of two generations, which are owed to a replica or are to go from there; the third lies there and stays. */
type Prepared = Readonly<{
  storePath: string;
  bucket: string;
  name: string;
  fake: FakeS3;
  proxy: FaultProxy;
  /** What lies in the replica in the end. */
  expected: string[];
}>;

type Case = Readonly<{
  what: string;
  every: number;
  /** What is so before the host is killed. Returns which of the three lie there in the end. */
  before: (storage: Storage, refs: readonly Ref[], name: string) => Promise<readonly Ref[]>;
}>;
type Ref = Readonly<{ projectId: string; version: number; generationId: string }>;

const CASES: Case[] = [
  { what: 'copies', every: 5, before: async (_, refs) => refs },
  {
    what: 'removes what was purged',
    every: 5,
    before: async (storage, [first, ...others]) => {
      await purge(storage, others);
      return [first!];
    },
  },
  {
    what: 'copies what took the place of what is to go',
    every: 7,
    before: async (storage, [first, ...others]) => {
      await purge(storage, others);
      const added = { projectId: first!.projectId, version: 9, generationId: 'g' };
      await waitForStatus(storage, await storage.save({ ...added, files: { a: '9' } }), 'verified');
      return [first!, added];
    },
  },
];

async function purge(storage: Storage, refs: readonly Ref[]): Promise<void> {
  for (const ref of refs) await storage.delete(ref);
  await quiet(storage);
  await makeDue(refs[0]!.projectId);
  await storage.purge();
}

async function prepare({ what, before }: Case): Promise<Prepared> {
  const { input, fake } = await s3Replica();
  const [storePath, bucket] = [await tempFolder(), uniqueId('bucket')];
  const storage = await openTestStorage({ storePath, cloud: testCloud(bucket) });
  const projectId = uniqueId();
  const refs = [1, 2, 3].map((version) => ({ projectId, version, generationId: 'g' }));
  const save = async (ref: Ref) =>
    waitForStatus(
      storage,
      await storage.save({ ...ref, files: { a: String(ref.version) } }),
      'verified',
    );
  await save(refs[0]!);
  await storage.replicas.add(input);
  await even(storage, input.name);
  // Nothing more gets there before the host is killed.
  if (what === 'copies') fake.setFault(() => 'close');
  for (const ref of refs.slice(1)) await save(ref);
  if (what !== 'copies') await even(storage, input.name);
  fake.setFault(() => 'close');
  const left = await before(storage, refs, input.name);
  await storage.close();
  fake.setFault(null);
  await free(input.name);
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const expected = left.map((ref) => `${projectId}/generations/v${ref.version}__g.tar.gz`);
  return { storePath, bucket, name: input.name, fake, proxy, expected: expected.sort() };
}

/** The time is over for which nobody else is given what somebody was given. */
async function free(name: string): Promise<void> {
  const over = { claimed_until: null };
  const due = { ...over, due_at: new Date(0).toISOString() };
  await serviceClient().from('storage_copies').update(due).eq('replica', name).throwOnError();
  const files = serviceClient().from('storage_replica_projects');
  await files.update(over).eq('replica', name).throwOnError();
}

/** Runs `replicas sync`, and kills it at a request; 0: not at all. Returns how many there were. */
async function sync({ storePath, name, bucket, fake, proxy }: Prepared, at: number) {
  const { SUPABASE_SERVICE_KEY } = inject('stack');
  const child = spawn(
    process.execPath,
    [builtProgram('node-agent/bin'), 'replicas', 'sync', name, '--no-progress'],
    {
      stdio: 'ignore',
      env: {
        ...process.env,
        USE_CLOUD_STORAGE: 'true',
        SUPABASE_URL: proxy.url,
        SUPABASE_SERVICE_KEY,
        SUPABASE_BUCKET: bucket,
        FILE_STORAGE_PATH: storePath,
        CACHE_PATH: await tempFolder(),
      },
    },
  );
  let count = 0;
  const isTheOne = () => {
    count++;
    if (at === 0 || count < at) return false;
    child.kill('SIGKILL');
    return true;
  };
  fake.setFault(() => (isTheOne() ? 'close' : null));
  proxy.rule = () => (isTheOne() ? { kind: 'down' } : null);
  const [code] = (await once(child, 'exit')) as [number | null];
  fake.setFault(null);
  proxy.rule = () => null;
  if (at === 0) expect(code).toBe(0);
  return count;
}

test.each(CASES)(
  '$what: killed at every request, all is even in the end',
  async (given) => {
    const requests = await sync(await prepare(given), 0);
    expect(requests).toBeGreaterThan(6);
    await eachStep(requests, given.every, async (at) => {
      const prepared = await prepare(given);
      await sync(prepared, at);
      await free(prepared.name);
      const { storePath, bucket, name, expected } = prepared;
      const storage = await openTestStorage({ storePath, cloud: testCloud(bucket) });
      const where = `killed at request ${at} of ${requests}`;
      expect(await storage.replicas.sync(name), where).toMatchObject({ owed: 0, failed: 0 });
      expect(await keysIn(storage, name), where).toEqual(expected);
      let checked = 0;
      for await (const { key, reason } of storage.replicas.check(name)) {
        expect(reason, `${where}: ${key}`).toBeNull();
        checked++;
      }
      expect(checked, where).toBe(expected.length);
      await storage.close();
    });
  },
  3_600_000,
);
