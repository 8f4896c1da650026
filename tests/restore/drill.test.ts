/** The drill of `docs/operations.md`: the disk of a host, the database, the bucket are lost, and all is as it was. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createClient as createSupabase } from '@supabase/supabase-js';
import { expect, onTestFinished, test } from 'vitest';
import type { Storage } from '../../node-agent/index.ts';
import { type Stack, startStack } from '../../supabase/embedded/stack.ts';
import { expectSame, filesOf, lookAt, nextVersions, type Seen } from '../support/drill.ts';
import { documentedReplica } from '../support/replica.ts';
import { ROOT, runCli } from '../support/run.ts';
import { openTestStorage } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';
import { quiet, textsOf } from '../support/two-hosts.ts';

const BUCKET = 'codebegen-projects';
const IS_LONG = process.env.DRILL_LONG === '1';
const PROJECTS = 12;
const GENERATIONS = IS_LONG ? 500 : 96;
const OWNERS = ['a', 'b', 'c'].map((letter) => `${letter.repeat(8)}-aaaa-4aaa-8aaa-aaaaaaaaaaaa`);
/** Two of each are deleted in the end. */
const LIVE = GENERATIONS - 2 * PROJECTS;
/** How many versions the n-th project gets. */
const versionsOf = (n: number) => Math.ceil((GENERATIONS - n) / PROJECTS);
const projectIds = Array.from({ length: PROJECTS }, (_, i) => `project-${i}`);

let stack: Stack;
let before: Seen;
let host: Storage;
let storePath: string;

const cloud = () => ({ url: stack.url, key: stack.keys.serviceRoleKey, bucket: BUCKET });
const service = () =>
  createSupabase(stack.url, stack.keys.serviceRoleKey, { auth: { persistSession: false } });
const openHost = (path: string) => openTestStorage({ storePath: path, cloud: cloud() });

/** Generations that are saved, replaced, deleted, undeleted and made active, all of it known to the cloud. */
async function fill(storage: Storage): Promise<void> {
  for (let i = 0; i < GENERATIONS; i++) {
    const projectId = projectIds[i % PROJECTS]!;
    const version = Math.floor(i / PROJECTS) + 1;
    const given = { projectId, version, generationId: `g${version}`, ownerId: OWNERS[i % 3]! };
    const metadata = { prompt: `make ${i}` };
    await storage.save({ ...given, metadata, files: filesOf(projectId, version) });
  }
  await quiet(storage);
  for (const [i, projectId] of projectIds.entries()) {
    const ref = (version: number) => ({ projectId, version, generationId: `g${version}` });
    await storage.save({ ...ref(1), replace: true, files: filesOf(projectId, 1, 2) });
    await storage.activate(ref(i % 2 === 0 ? 1 : 2));
    await storage.delete(ref(3));
    await storage.delete(ref(4));
    // The last one: its version is not given again.
    await storage.delete(ref(versionsOf(i)));
    await quiet(storage);
    await storage.undelete(ref(4));
  }
  await quiet(storage);
  await storage.exchangeActive();
  await storage.learnChanges();
  await storage.writeProjectFiles();
}

test('disk, database and bucket are lost, one after another and together', async () => {
  stack = await startStack({ port: 0, functions: false });
  onTestFinished(() => stack.close());
  storePath = await tempFolder();
  host = await openHost(storePath);
  await fill(host);
  before = await lookAt(host);
  expect(Object.values(before.lists).flat()).toHaveLength(LIVE);
  expect(new Set(Object.values(before.active))).toEqual(new Set([1, 2]));
  await loseDisk();
  await loseBucket();
  await loseDatabaseAndDisk();
  await loseCloud();
  await loseCloudAndDisk();
}, 1_800_000);

/** The disk is lost: restored on an empty one, all is as it was, and saving goes on. */
async function loseDisk(): Promise<void> {
  const empty = join(await tempFolder(), 'store');
  const options = { FILE_STORAGE_PATH: empty, ...(await cacheOf()), ...environment() };
  const plan = await runCli(['restore', '--dry-run', '--json'], options);
  expect(JSON.parse(plan.stdout)).toMatchObject({ restored: LIVE, there: 0, failed: 0 });
  expect(existsSync(empty)).toBe(false);
  const told = await follow("The host's disk", options);
  expect(told).toContain(`restored  ${LIVE}, `);
  expect(told).toContain(`deleted   ${2 * PROJECTS} deletions are known here now`);
  const again = await runCli(['restore', '--json'], options);
  expect(JSON.parse(again.stdout)).toMatchObject({
    restored: 0,
    there: LIVE,
    deleted: 0,
  });

  // With the cloud away: what is known lies here.
  const away = await openTestStorage({ storePath: empty, cloud: null });
  expectSame(statusless(await lookAt(away)), statusless(before));
  const next = versionsOf(0) + 1;
  const versions = await nextVersions(away, projectIds.slice(0, 3));
  expect(Object.values(versions)).toEqual([next, next, next]);
  await away.close();
  const back = await openHost(empty);
  await quiet(back);
  for (const projectId of projectIds.slice(0, 3)) {
    expect((await back.show({ projectId, version: next })).status).toBe('verified');
    await back.delete({ projectId, version: next });
  }
  // What was deleted before can be had back here too.
  const deleted = { projectId: projectIds[5]!, version: 3 };
  expect(await back.undelete(deleted)).toMatchObject({ undeleted: true });
  expect(await textsOf(back, deleted)).toEqual(filesOf(deleted.projectId, 3));
  await back.delete(deleted);
  await quiet(back);
  await back.close();
  await host.learnChanges();
  expectSame(await lookAt(host), before);
}

/** The bucket is lost: the host fills it again. */
async function loseBucket(): Promise<void> {
  const storage = service().storage;
  expect((await storage.emptyBucket(BUCKET)).error).toBeNull();
  expect((await storage.deleteBucket(BUCKET)).error).toBeNull();
  await follow('The bucket', {
    FILE_STORAGE_PATH: storePath,
    ...(await cacheOf()),
    ...environment(),
  });
  await quiet(host);
  await host.writeProjectFiles();
  expectSame(await lookAt(host), before);
  await expectRestorable();
}

/** Database and disk are lost: the bucket says all of it to an empty host, which fills the database again. */
async function loseDatabaseAndDisk(): Promise<void> {
  await host.writeProjectFiles();
  await loseDatabase();
  await host.close();
  const empty = join(await tempFolder(), 'store');
  const options = { FILE_STORAGE_PATH: empty, ...(await cacheOf()), ...environment() };
  await follow('The database', options);
  const back = await openHost(empty);
  await quiet(back);
  await back.exchangeActive();
  expectSame(await lookAt(back), before);
  await back.writeProjectFiles();
  await back.close();
  await expectRestorable();
}

/** Database and bucket are lost, and the host alone is left: it fills them again. */
async function loseCloud(): Promise<void> {
  await loseDatabase();
  const storage = service().storage;
  await storage.emptyBucket(BUCKET);
  await storage.deleteBucket(BUCKET);
  host = await openHost(storePath);
  await host.learnChanges();
  await quiet(host);
  await host.exchangeActive();
  expectSame(await lookAt(host), before);
  await expectRestorable();
}

/** The whole project and the host are lost: a replica says all of it to a new host, which fills a new project. */
async function loseCloudAndDisk(): Promise<void> {
  const { fake, name, replaced } = await documentedReplica(await tempFolder());
  const [url, folder] = [fake.url, await tempFolder()];
  const keyFile = join(folder, 'far.key');
  writeFileSync(keyFile, fake.secret);
  const place = { url, region: fake.region, bucket: 'acme-copies', keyId: fake.keyId, keyFile };
  await host.replicas.add({ name, kind: 's3', ...place });
  expect(await host.replicas.sync(name)).toMatchObject({ owed: 0, failure: null });
  await host.close();
  await stack.close();
  rmSync(storePath, { recursive: true });
  stack = await startStack({ port: 0, functions: false });
  onTestFinished(() => stack.close());
  const empty = join(await tempFolder(), 'store');
  const options = { FILE_STORAGE_PATH: empty, ...(await cacheOf()), ...environment() };
  fake.asked.length = 0;
  const told = await follow('The whole Supabase project, and every host', options, replaced);
  expect(told).toContain(`restored  ${LIVE}, `);
  // What lies there already is not sent again.
  expect(fake.asked.filter((line) => /^PUT .*gz$/.test(line))).toEqual([]);
  host = await openHost(empty);
  await quiet(host);
  await host.exchangeActive();
  expectSame(await lookAt(host), before);
  await expectRestorable();
}

/** Does what the page says under a heading, and returns what was printed. */
async function follow(
  heading: string,
  env: Record<string, string>,
  replaced: Readonly<Record<string, string>> = {},
): Promise<string> {
  const page = readFileSync(join(ROOT, 'docs/operations.md'), 'utf8');
  const [, block = ''] = page.split(`**${heading}.**`)[1]!.split(/```(?:sh)?\n/);
  let printed = '';
  for (const line of block.trim().split('\n')) {
    const command = Object.entries(replaced).reduce((text, [a, b]) => text.replaceAll(a, b), line);
    const ran = await runCli(command.split(' ').slice(1), env);
    expect(ran.code, `${line}\n${ran.stdout}${ran.stderr}`).toBe(0);
    printed += ran.stdout;
  }
  return printed;
}

/** That the cloud has all of it again: an empty host gets it from there. */
async function expectRestorable(): Promise<void> {
  const path = await tempFolder();
  const empty = await openHost(path);
  const report = await empty.restore();
  expect(report).toMatchObject({ failed: 0, problems: [], stopped: false });
  expectSame(await lookAt(empty), before);
  await empty.close();
  rmSync(path, { recursive: true });
}

const cacheOf = async () => ({ CACHE_PATH: await tempFolder() });
const environment = () => ({
  USE_CLOUD_STORAGE: 'true',
  SUPABASE_URL: stack.url,
  SUPABASE_SERVICE_KEY: stack.keys.serviceRoleKey,
  SUPABASE_BUCKET: BUCKET,
});

/** Without a cloud nothing is on its way to it. */
function statusless(seen: Seen): Seen {
  const text = JSON.stringify(seen).replaceAll('"status":"verified"', '"status":"local"');
  return JSON.parse(text) as Seen;
}

/** Our tables are as the migrations made them. */
async function loseDatabase(): Promise<void> {
  await stack.database.pg.exec(
    `truncate public.storage_projects, public.storage_generations, public.storage_archives,
       public.storage_manifests, public.storage_changes, public.storage_check_ins,
       public.storage_project_files, public.storage_hosts cascade;
     alter sequence public.storage_change_numbers restart;`,
  );
}
