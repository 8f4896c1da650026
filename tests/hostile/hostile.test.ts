/**
 * Trees, tars, forms and JSON bodies that were made to do harm, through the doors of a daemon and of
 * the library. `HOSTILE_RUNS=10000 npx vitest run tests/hostile` is the long form; a failure tells the
 * seed, and `HOSTILE_SEED` repeats it.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openStorage, type Storage, StorageError } from '../../node-agent/index.ts';
import { startDaemon } from '../support/daemon.ts';
import { oldManifest } from '../support/python-store.ts';
import { makeRandom } from '../support/random.ts';
import { testCache } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';
import { listTree } from '../support/tree.ts';
import { Inputs } from './inputs.ts';

const RUNS = Number(process.env.HOSTILE_RUNS ?? 300);
const SEED = Number(process.env.HOSTILE_SEED ?? 1);
const SECRET = 'a secret that lies outside of everything';
const SECRET_HASH = createHash('sha256').update(SECRET).digest('hex');
/** As the issue has them. */
const SOON_MS = 2000;
const MEMORY = 200 * 1024 * 1024;

async function world() {
  const around = await tempFolder();
  const outside = join(around, 'outside');
  const storePath = join(around, 'a/b/store');
  mkdirSync(outside);
  mkdirSync(storePath, { recursive: true });
  writeFileSync(join(outside, 'secret'), SECRET);
  const { daemon } = await startDaemon({ FILE_STORAGE_PATH: storePath });
  return { around, outside, storePath, daemon };
}

type World = Awaited<ReturnType<typeof world>>;

const memoryOf = ({ daemon }: World) => {
  const text = readFileSync(`/proc/${daemon.child.pid}/status`, 'utf8');
  return Number(/VmHWM:\s*(\d+)/.exec(text)?.[1] ?? 0) * 1024;
};

/** Sends something, and looks at what every answer has to be. */
async function send({ daemon }: World, path: string, init: RequestInit = {}) {
  const began = performance.now();
  const signal = AbortSignal.timeout(5 * SOON_MS);
  const answer = await fetch(`${daemon.url}${path}`, { ...init, signal });
  const text = await answer.text().catch(() => '');
  const ms = performance.now() - began;
  expect(answer.status, text).not.toBe(500);
  expect(answer.status, text).toBeLessThan(600);
  expect(ms, `${path} took ${ms} ms`).toBeLessThan(SOON_MS);
  expect(text).not.toContain(SECRET);
  return { status: answer.status, text };
}

const post = (world: World, query: string, type: string, body: Buffer) =>
  send(world, `/v1/generations${query}`, {
    method: 'POST',
    headers: { 'content-type': type },
    body: new Uint8Array(body),
  });

/** A fault of ours, or of whoever gave it: never anything else. */
async function orRefused<T>(work: Promise<T>): Promise<T | null> {
  try {
    return await work;
  } catch (error) {
    expect(error, (error as Error).stack).toBeInstanceOf(StorageError);
    expect((error as StorageError).code, (error as Error).message).not.toBe('internal');
    return null;
  }
}

async function tryTree(world: World, inputs: Inputs, library: Storage, run: number): Promise<void> {
  const projectId = `tree${run}`;
  const project = join(world.storePath, projectId);
  const ref = { projectId, version: 1, generationId: inputs.chance(0.5) ? 'g' : projectId };
  if (ref.generationId === 'g') {
    const folder = join(project, 'generations/v1__g');
    inputs.tree(join(folder, 'source'));
    if (inputs.chance(0.3)) inputs.tree(join(folder, 'artifacts'));
    const named = Array.from({ length: inputs.below(5) }, () => inputs.name());
    const found = readdirSync(join(folder, 'source'));
    const files = Object.fromEntries([...named, ...found].map((name) => [name, 'x']));
    writeFileSync(join(folder, 'manifest.json'), oldManifest(ref, files));
  } else inputs.tree(project);
  const path = `/v1/projects/${projectId}/1`;
  const { text } = await send(world, `${path}/files`);
  const [first] = (JSON.parse(text) as { items?: { path: string }[] }).items ?? [];
  await send(world, `${path}/files/${encodeURIComponent(first?.path ?? 'link1')}`);
  await send(world, `${path}/archive.zip`);
  const links = inputs.pick(['skip', 'error', 'follow'] as const);
  const saved = await orRefused(
    library.saveFolder({ folder: project, projectId: `saved${run}`, links }),
  );
  if (saved !== null) await expectNoSecret(library, saved);
  if ((await orRefused(library.adopt(ref))) !== null) await expectNoSecret(library, ref);
}

async function expectNoSecret(storage: Storage, ref: { projectId: string; version: number }) {
  const { manifest } = await storage.get(ref);
  for (const { path, sha256 } of manifest.entries ?? []) expect(sha256, path).not.toBe(SECRET_HASH);
}

test(`${RUNS} hostile inputs: no escape, no fault of ours, nobody waits, nothing is left`, async () => {
  const made = await world();
  const { storePath, outside, around } = made;
  await send(made, '/healthz');
  const idle = memoryOf(made);
  const library = await openStorage({
    ...{ storePath, cloud: null, uploadConcurrency: 1, cleanupEveryMs: null },
    cache: await testCache(),
  });
  for (let run = 0; run < RUNS; run++) {
    const seed = SEED * 1_000_003 + run;
    const inputs = new Inputs(makeRandom(seed), outside);
    try {
      const project = `?project_id=${inputs.pick(['p', 'p', 'tar'])}`;
      if (run % 4 === 0) await post(made, '', 'application/json', inputs.json());
      else if (run % 4 === 1) {
        const { body, type, parts } = inputs.form();
        const { status, text } = await post(made, '', type, body);
        if (status === 201) expect(JSON.parse(text).file_count).toBe(parts);
      } else if (run % 4 === 2) {
        const { body } = inputs.tar();
        const links = inputs.pick(['', '&links=skip', '&links=error', '&links=follow', '&links=x']);
        await post(made, `${project}${links}`, 'application/gzip', body);
      } else await tryTree(made, inputs, library, run);
    } catch (error) {
      const log = made.daemon.output().stderr.slice(-2000);
      throw new Error(`Run ${run} failed (HOSTILE_SEED=${SEED})\n${log}`, { cause: error });
    }
  }
  await library.close();
  expect(memoryOf(made) - idle).toBeLessThan(MEMORY);
  expect(readdirSync(outside)).toEqual(['secret']);
  expect(readFileSync(join(outside, 'secret'), 'utf8')).toBe(SECRET);
  expect(readdirSync(around).sort()).toEqual(['a', 'outside']);
  expect(readdirSync(join(around, 'a'))).toEqual(['b']);
  expect(readdirSync(join(around, 'a/b'))).toEqual(['store']);
  const staging = join(storePath, '.codebegen-storage/staging');
  expect(listTree(staging).filter((name) => name.includes('/'))).toEqual([]);
}, 3_600_000);
