/**
 * The agent is killed before every step of what changes store and cloud: a deletion, what undoes it, one that is
 * followed, a purge, a restore, and what fills a bucket again. The next start finishes it: nothing is lost that is not due, and nothing left that is.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createClient } from '@supabase/supabase-js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Storage, StorageOptions } from '../../node-agent/index.ts';
import { Layout } from '../../node-agent/store/layout.ts';
import { type Stack, startStack } from '../../supabase/embedded/stack.ts';
import { isByHostKey, keyFor } from '../support/by-host-key.ts';
import { uniqueId } from '../support/cloud.ts';
import { openTestStorage } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';
import { quiet, textsOf } from '../support/two-hosts.ts';
import { crash } from './crash.ts';
import { eachStep } from './each-step.ts';
import { CONTENTS, earlierIn, refIn, type Scenario } from './scenarios.ts';

const BUCKET = 'codebegen-projects';
let stack: Stack;
let key: string;
let cache: string;

beforeAll(async () => {
  // By the key of a host the agent talks to a function.
  stack = await startStack({ port: 0, functions: isByHostKey });
  key = await keyFor(stack, BUCKET);
});
afterAll(() => stack?.close());

const cloud = () => ({ url: stack.url, key, bucket: BUCKET });
const open = (storePath: string, options: Partial<StorageOptions> = {}) =>
  openTestStorage({ storePath, cloud: cloud(), ...options });
const service = () =>
  createClient(stack.url, stack.keys.serviceRoleKey, { auth: { persistSession: false } });

/** What the database and the bucket have of the generation. */
async function cloudOf(projectId: string) {
  const { data } = await service()
    .from('storage_generations')
    .select('status, purge_at, purged_at')
    .match({ project_id: projectId, version: 2 });
  const listed = await service().storage.from(BUCKET).list(`${projectId}/generations`);
  const objects = (listed.data ?? []).filter(({ name }) => name.startsWith('v2__'));
  return { row: data![0]!, objects: objects.length };
}

type Case = Readonly<{
  scenario: Scenario;
  every: number;
  /** What is so before, beside two generations that the cloud has. */
  before: (storage: Storage, projectId: string) => Promise<unknown>;
  /** How long ago that was, in milliseconds. */
  agoMs?: number;
  /** Whether the process begins with an empty store. */
  isEmpty?: boolean;
  /** What happens while the host is down. */
  meanwhile?: (projectId: string, storePath: string) => Promise<void>;
  /** Does it once more, where it was not answered, and looks at what it came to. */
  after: (storage: Storage, projectId: string, isAnswered: boolean) => Promise<void>;
}>;

async function expectWhole(storage: Storage, projectId: string): Promise<void> {
  await quiet(storage);
  for (const [ref, files] of [
    [earlierIn(projectId), CONTENTS.old],
    [refIn(projectId), CONTENTS.new],
  ] as const) {
    expect(await textsOf(storage, ref)).toEqual(files);
    expect((await storage.show(ref)).status).toBe('verified');
  }
  const { row, objects } = await cloudOf(projectId);
  expect({ ...row, objects }).toEqual({
    ...{ status: 'verified', purge_at: null, purged_at: null, objects: 1 },
  });
}

const remove = async (storage: Storage, projectId: string) => {
  await storage.delete(refIn(projectId));
  await quiet(storage);
};

/** What another host does. */
async function elsewhere(
  projectId: string,
  work: (other: Storage) => Promise<unknown>,
): Promise<void> {
  const other = await open(await tempFolder());
  await other.restore({ projectId });
  await work(other);
  await quiet(other);
  await other.close();
}

const cases: Case[] = [
  {
    scenario: 'delete',
    every: 19,
    before: async () => {},
    after: async (storage, projectId) => {
      const isThere = (await storage.list(projectId)).items.length === 2;
      if (isThere) await storage.delete(refIn(projectId));
      await quiet(storage);
      const { row, objects } = await cloudOf(projectId);
      expect({ ...row, objects }).toMatchObject({ status: 'deleted', purged_at: null, objects: 1 });
      expect(await storage.undelete(refIn(projectId))).toMatchObject({ undeleted: true });
      await expectWhole(storage, projectId);
    },
  },
  {
    scenario: 'undelete',
    every: 19,
    before: remove,
    after: async (storage, projectId, isAnswered) => {
      const answer = await storage.undelete(refIn(projectId));
      if (isAnswered) expect(answer).toMatchObject({ undeleted: false });
      await expectWhole(storage, projectId);
    },
  },
  {
    scenario: 'delete and undelete',
    every: 23,
    before: async () => {},
    after: async (storage, projectId) => {
      await quiet(storage);
      await storage.learnChanges();
      await storage.undelete(refIn(projectId));
      await expectWhole(storage, projectId);
    },
  },
  // Deleted elsewhere, which this host follows, and undone there while it is down: it deletes it no more.
  ...(['follow', 'follow and lose the catalog'] as const).map((scenario) => ({
    scenario,
    every: 7,
    before: (_: Storage, projectId: string) =>
      elsewhere(projectId, (other) => other.delete(refIn(projectId))),
    meanwhile: async (projectId: string, storePath: string) => {
      await elsewhere(projectId, (other) => other.undelete(refIn(projectId)));
      if (scenario === 'follow') return;
      for (const suffix of ['', '-wal', '-shm']) {
        rmSync(`${new Layout(storePath).catalog}${suffix}`, { force: true });
      }
    },
    after: async (storage: Storage, projectId: string) => {
      await storage.scanned(60_000);
      await quiet(storage);
      await storage.learnChanges();
      await expectWhole(storage, projectId);
    },
  })),
  {
    scenario: 'purge',
    every: 13,
    before: async (storage, projectId) => {
      await remove(storage, projectId);
      const { error } = await service()
        .from('storage_generations')
        .update({ purge_at: new Date(Date.now() - 1000).toISOString() })
        .match({ project_id: projectId, version: 2 });
      expect(error).toBeNull();
    },
    after: async (storage, projectId) => {
      await storage.purge();
      // What a purge that was killed left to be removed others look for, once it is five minutes old.
      const archives = service().from('storage_archives');
      const left = archives.update({ state_at: new Date(0).toISOString() });
      await left.match({ project_id: projectId, version: 2, state: 'unneeded' });
      await storage.removeUnneeded();
      const { row, objects } = await cloudOf(projectId);
      expect({ ...row, objects }).toMatchObject({ status: 'deleted', purge_at: null, objects: 0 });
      expect(row.purged_at).not.toBeNull();
      await expect(storage.undelete(refIn(projectId))).rejects.toMatchObject({ code: 'not_found' });
      expect(await textsOf(storage, earlierIn(projectId))).toEqual(CONTENTS.old);
    },
  },
  ...(['restore', 'restore twice'] as const).map((scenario) => ({
    scenario,
    every: scenario === 'restore' ? 29 : 47,
    before: async () => {},
    isEmpty: true,
    after: async (storage: Storage, projectId: string, isAnswered: boolean) => {
      const report = await storage.restore({ projectId });
      expect(report).toMatchObject({ found: 2, failed: 0, problems: [] });
      if (isAnswered) expect(report).toMatchObject({ restored: 0, there: 2 });
      for await (const { problems } of storage.verify({ projectId })) expect(problems).toEqual([]);
      await expectWhole(storage, projectId);
    },
  })),
  {
    scenario: 'resend',
    every: 29,
    before: async (_, projectId) => {
      const keys = [1, 2].map((n) => `${projectId}/generations/v${n}__gen-${n}.tar.gz`);
      const { error } = await service().storage.from(BUCKET).remove(keys);
      expect(error).toBeNull();
    },
    after: async (storage, projectId) => {
      await storage.resend(projectId);
      await expectWhole(storage, projectId);
    },
  },
  {
    scenario: 'scrub',
    every: 61,
    agoMs: 25 * 3_600_000,
    // From then on time counts. One is damaged here, the other in the bucket.
    before: async (storage, projectId) => {
      await storage.scrub();
      const { storePath } = await storage.status();
      const path = join(storePath, projectId, 'generations/v2__gen-2/archive.tar.gz');
      const bytes = readFileSync(path);
      bytes[bytes.length >> 1]! ^= 1;
      writeFileSync(path, bytes);
      const key = `${projectId}/generations/v1__gen-1.tar.gz`;
      const { error } = await service().storage.from(BUCKET).remove([key]);
      expect(error).toBeNull();
    },
    after: async (storage, projectId, isAnswered) => {
      const damaged: string[] = [];
      for await (const { problems } of storage.verify({ projectId, repair: true })) {
        damaged.push(...problems.map(({ where }) => where));
      }
      await expectWhole(storage, projectId);
      // What it was answered for was mended, or is on its way.
      if (isAnswered) expect(damaged).not.toContain('store');
    },
  },
];

test.each(cases)(
  '$scenario: killed before every step, all is even in the end',
  async ({ scenario, every, before, agoMs = 0, isEmpty = false, meanwhile, after }) => {
    cache = await tempFolder();
    const env = {
      NODE_COMPILE_CACHE: cache,
      USE_CLOUD_STORAGE: 'true',
      SUPABASE_URL: stack.url,
      ...(isByHostKey ? { HOST_KEY: key } : { SUPABASE_SERVICE_KEY: key }),
      SUPABASE_BUCKET: BUCKET,
      SCRUB_DAYS: '1',
    };
    const start = async (at: number) => {
      const projectId = uniqueId();
      const template = await tempFolder();
      const now = () => Date.now() - agoMs;
      const storage = await open(template, { now, scrubDays: 1 });
      await storage.save({ ...earlierIn(projectId), files: CONTENTS.old });
      await storage.save({ ...refIn(projectId), files: CONTENTS.new });
      await quiet(storage);
      await before(storage, projectId);
      await storage.close();
      const folder = await tempFolder();
      const given = { scenario, projectId, at, folder, env };
      return { projectId, ...(await crash({ ...given, template: isEmpty ? null : template })) };
    };
    const { steps } = await start(0);
    expect(steps).toBeGreaterThan(10);
    await eachStep(steps!, every, async (at) => {
      const { projectId, storePath, receipt } = await start(at);
      const check = async () => {
        await meanwhile?.(projectId, storePath);
        const storage = await open(storePath);
        await after(storage, projectId, receipt !== null);
        await storage.close();
      };
      await check().catch((error: Error) => {
        error.message = `killed at step ${at} of ${steps} (${join(storePath)}): ${error.message}`;
        throw error;
      });
    });
  },
  // In the long form one of them takes some hundred processes.
  3_600_000,
);
