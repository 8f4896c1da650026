/** Whether anything else is slower while a replica is away: it takes what it is sent, and says nothing. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openStorage, type RefInput, readConfig, type Storage } from '../../node-agent/index.ts';
import type { ReplicaInput } from '../../node-agent/replicas/replica.ts';
import { startFakeS3 } from '../support/fake-s3.ts';
import { readSources, type Tree } from './corpus.ts';
import { startHost } from './host.ts';
import { atMost, type Measured, quantile } from './measure.ts';

const ROUNDS = 20;
/** So many generations in each state of a round: 400 of each make a p99. */
const GENERATIONS = 20;
const FILES = 29;
const MOST_TIMES = 1.2;

const STATES = ['there', 'away'] as const;
type State = (typeof STATES)[number];
const STEPS = ['save', 'until it is verified', 'get from the store', 'get from the cloud'] as const;
type Times = Record<State, Record<(typeof STEPS)[number], number[]>>;

export async function replica(): Promise<Measured[]> {
  const host = await startHost();
  const server = fork(import.meta.filename);
  try {
    const keyFile = join(host.folder, 'replica.key');
    const [found] = (await once(server, 'message')) as [ReplicaInput & { secret: string }];
    const { secret, ...place } = found;
    mkdirSync(host.folder, { recursive: true });
    writeFileSync(keyFile, secret);
    const storage = await openStorage(readConfig({ ...process.env, ...host.env }));
    try {
      const { name } = await storage.replicas.add({ ...place, keyFile } as ReplicaInput);
      return told(await measure(storage, server, name));
    } finally {
      await storage.close({ drainMs: 0 });
    }
  } finally {
    server.kill();
    await host.close();
  }
}

async function measure(storage: Storage, server: ChildProcess, name: string): Promise<Times> {
  const empty = () =>
    Object.fromEntries(STEPS.map((step) => [step, []])) as unknown as Times[State];
  const times: Times = { there: empty(), away: empty() };
  const files = readSources(FILES);
  for (let round = -1; round < ROUNDS; round++) {
    // Which comes first changes: the store grows.
    for (const state of round % 2 === 0 ? STATES : STATES.toReversed()) {
      server.send(state);
      await once(server, 'message');
      if (state === 'there') await storage.replicas.sync(name);
      const block = round < 0 ? empty() : times[state];
      await runBlock(storage, { files, state, round, times: block });
    }
  }
  return times;
}

async function runBlock(
  storage: Storage,
  given: { files: Tree; state: State; round: number; times: Times[State] },
): Promise<void> {
  const { files, state, round, times } = given;
  const timed = async <T>(step: (typeof STEPS)[number], run: () => Promise<T>): Promise<T> => {
    const began = performance.now();
    const result = await run();
    times[step].push(performance.now() - began);
    return result;
  };
  const refs: RefInput[] = [];
  for (let n = 0; n < GENERATIONS; n++) {
    const own = { ...files, 'own.txt': `${state} ${round} ${n}` };
    const began = performance.now();
    const ref = await timed('save', () => storage.save({ projectId: 'shop', files: own }));
    await storage.drain(60_000);
    const { status } = await storage.show(ref);
    if (status !== 'verified') throw new Error(`It is ${status}`);
    times['until it is verified'].push(performance.now() - began);
    await timed('get from the store', () => storage.get(ref));
    refs.push(ref);
  }
  await storage.cleanupStore({ olderThanMs: -1000 });
  for (const ref of refs) {
    const { from } = await timed('get from the cloud', () => storage.get(ref));
    if (from !== 'cloud') throw new Error(`It came from ${from}`);
  }
}

function told({ there, away }: Times): Measured[] {
  return STEPS.flatMap((step) =>
    [0.5, 0.99].map((share) =>
      atMost(
        `a replica is away: ${step}, p${share * 100}, times with it there`,
        quantile(away[step], share) / quantile(there[step], share),
        '×',
        MOST_TIMES,
      ),
    ),
  );
}

if (import.meta.main) {
  const fake = await startFakeS3();
  fake.buckets.set('copies', new Map());
  const { url, region, keyId, secret } = fake;
  process.on('message', (state: State) => {
    fake.setFault(state === 'away' ? () => 'hang' : null);
    process.send!('done');
  });
  process.send!({ name: 'far', kind: 's3', bucket: 'copies', url, region, keyId, secret });
}
