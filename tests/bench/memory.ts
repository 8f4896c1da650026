/** How much memory one large generation takes: saved, uploaded, fetched, copied into a replica. */
import { randomBytes } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from '@supabase/supabase-js';
import { tarEnd, tarHeader } from '../../node-agent/archive/tar.ts';
import type { RefInput, Storage } from '../../node-agent/index.ts';
import type { ReplicaInput } from '../../node-agent/replicas/replica.ts';
import { buildAgent } from '../support/built-agent.ts';
import { startFakeS3 } from '../support/fake-s3.ts';
import { type Host, runProgram, startHost } from './host.ts';
import { atMost, type Measured } from './measure.ts';

const ROUNDS = 3;
const FILES = 500;
const FILE_BYTES = 2 * 1024 * 1024;
const TARGET_MB = 64;
const MB = 1024 * 1024;
const REF = { projectId: 'large', version: 1, generationId: 'g' };

const STEPS = [
  'save with a writer',
  'save from a tar',
  'upload',
  'copy from the disk',
  'copy from the bucket',
  'fetch',
] as const;
type Step = (typeof STEPS)[number];

/** Bytes that do not get smaller: deflate looks back no further than 32 KiB. */
const block = randomBytes(64 * 1024);

export async function memory(): Promise<Measured[]> {
  // As it is published: to read TypeScript takes each thread 20 MB.
  const agent = await buildAgent();
  const megabytes = STEPS.map((): number[] => []);
  for (let round = 0; round < ROUNDS; round++) {
    const host = await startHost();
    try {
      for (const [index, step] of STEPS.entries())
        megabytes[index]!.push(await peakOf(step, { ...host, agent }));
    } finally {
      await host.close();
    }
  }
  return STEPS.map((step, index) =>
    atMost(`memory above idle, 1 GB, ${step}`, megabytes[index]!, 'MB', TARGET_MB),
  );
}

/** A host, and the folder of the agent that runs there. */
type Built = Host & { agent: string };

/** Each step in a process of its own: what one of them leaves is not the next one's. */
async function peakOf(step: Step, host: Built): Promise<number> {
  const replica = await startFakeS3();
  replica.buckets.set('copies', new Map());
  const keyFile = join(host.folder, 'replica.key');
  writeFileSync(keyFile, replica.secret);
  const { url, region, keyId } = replica;
  const input: ReplicaInput = {
    ...{
      name: step.replaceAll(' ', '-'),
      kind: 's3',
      url,
      region,
      bucket: 'copies',
      keyId,
      keyFile,
    },
  };
  try {
    return await measurePeak(step, host, input);
  } finally {
    await replica.close();
  }
}

function measurePeak(step: Step, host: Built, replica: ReplicaInput): Promise<number> {
  return runProgram<number>(import.meta.filename, [step], {
    ...host.env,
    FILE_STORAGE_PATH: join(host.folder, STORES[step]),
    AGENT: host.agent,
    REPLICA: JSON.stringify(replica),
    ...(step.startsWith('save') ? { USE_CLOUD_STORAGE: 'false' } : {}),
  });
}

/** What was saved is put into the one that uploads once that is idle: it would begin at once. */
const STORES: Record<Step, string> = {
  'save with a writer': 'saved',
  'save from a tar': 'saved',
  upload: 'uploading',
  'copy from the disk': 'uploading',
  'copy from the bucket': 'empty',
  fetch: 'empty',
};

if (import.meta.main) {
  const step = process.argv[2] as Step;
  const { openStorage, readConfig } = (await import(
    join(process.env.AGENT!, 'node-agent/index.js')
  )) as typeof import('../../node-agent/index.ts');
  const storage = await openStorage({ ...readConfig(process.env), background: step === 'upload' });
  await warmUp(storage);
  global.gc?.();
  await sleep(200);
  const idle = startPeak();
  await run(storage, step);
  const peak = readPeak();
  await storage.close();
  console.log(JSON.stringify((peak - idle) / MB));
}

/** What is loaded once and threads that are kept are no part of it: something small goes the same way before. */
async function warmUp(storage: Storage): Promise<void> {
  const step = process.argv[2]!;
  if (step === 'fetch') {
    await storage.get({ projectId: 'warm-up-upload', version: 1 });
    return;
  }
  const name = `warm-up-${step.replaceAll(' ', '-')}`;
  const saved = await Promise.all(
    [1, 2, 3, 4].map((n) => storage.save({ projectId: name, files: { a: `${n}` } })),
  );
  if (step.startsWith('save')) return;
  for (const ref of saved) await uploaded(storage, ref);
  if (!step.startsWith('copy')) return;
  const { name: ofReplica } = await storage.replicas.add(replica());
  await claimLarge(new Date(Date.now() + 3_600_000).toISOString());
  await storage.replicas.sync(ofReplica);
  await claimLarge(null);
}

/** As another host does that is at it: what is small is copied alone. */
async function claimLarge(until: string | null): Promise<void> {
  const { SUPABASE_URL: url, SUPABASE_SERVICE_KEY: key } = process.env;
  const client = createClient(url!, key!, { auth: { persistSession: false } });
  const copies = client.from('storage_copies').update({ claimed_until: until });
  const { error } = await copies.eq('project_id', REF.projectId);
  if (error !== null) throw error;
}

function replica(): ReplicaInput {
  return JSON.parse(process.env.REPLICA!) as ReplicaInput;
}

async function uploaded(storage: Storage, ref: RefInput): Promise<void> {
  for (;;) {
    const { status, failure } = await storage.show(ref);
    if (status === 'verified') return;
    if (status === 'failed') throw new Error(failure ?? status);
    await storage.drain(60_000);
  }
}

async function run(storage: Storage, step: Step): Promise<void> {
  switch (step) {
    case 'save with a writer': {
      const writer = storage.writer(REF);
      for (let i = 0; i < FILES; i++) await writer.write(`f/${i}.bin`, pieces(i));
      await writer.commit();
      return;
    }
    case 'save from a tar':
      await storage.saveTar({ ...REF, version: 2, generationId: 'tar', tar: tar() });
      // The uploads that come are of one of them.
      await storage.delete({ projectId: REF.projectId, version: 2 });
      return;
    case 'upload': {
      const store = process.env.FILE_STORAGE_PATH!;
      renameSync(join(store, '../saved', REF.projectId), join(store, REF.projectId));
      await uploaded(storage, REF);
      return;
    }
    case 'copy from the disk':
    case 'copy from the bucket': {
      const { owed, failure } = await storage.replicas.sync(replica().name);
      if (owed > 0) throw new Error(failure ?? `${owed} were not copied`);
      return;
    }
    case 'fetch': {
      const found = await storage.get(REF);
      if (found.from !== 'cloud') throw new Error('It was not fetched');
    }
  }
}

async function* pieces(n: number): AsyncIterable<Uint8Array> {
  for (let at = 0; at < FILE_BYTES; at += block.length) {
    block.writeUInt32LE(n * FILE_BYTES + at);
    yield block;
  }
}

async function* tar(): AsyncIterable<Uint8Array> {
  for (let i = 0; i < FILES; i++) {
    yield tarHeader({ path: `f/${i}.bin`, size: FILE_BYTES, mode: 0o644 });
    yield* pieces(i);
  }
  yield tarEnd();
}

/** From now on the kernel keeps the highest resident size. Returns what it is now, in bytes. */
function startPeak(): number {
  writeFileSync('/proc/self/clear_refs', '5');
  return readPeak();
}

function readPeak(): number {
  const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  return Number(kilobytes) * 1024;
}
