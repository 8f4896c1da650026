/**
 * What is killed, or finds the disk full or failing: does one thing with a storage, as its arguments say, and
 * prints the receipt the moment it has it, then how many steps of I/O all took.
 */
import { existsSync, readdirSync, writeSync } from 'node:fs';
import {
  openStorage,
  readConfig,
  type Storage,
  type StorageError,
} from '../../node-agent/index.ts';
import { CONTENTS, refIn, type Scenario } from './scenarios.ts';
import type { CrashSteps } from './steps.ts';

const scenario = process.argv[2] as Scenario;
const ref = refIn(process.argv[3]!);
const { crashSteps: steps } = globalThis as unknown as { crashSteps: CrashSteps };
const print = (value: unknown) => writeSync(1, `${JSON.stringify(value)}\n`);

/** What comes after a save is left to those that settle by themselves. */
const isQuiet =
  scenario.includes('settle') || scenario.includes('tree') || process.env.CRASH_QUIET === '1';
const onProblem = (error: unknown) => {
  const { code, message } = error as StorageError;
  print({ problem: { code, message } });
};
const open = () =>
  openStorage({ ...readConfig(process.env), random: () => 0, background: !isQuiet, onProblem });

const storage = await withRoom(open);
const receipt = await withRoom(() => act(storage));
if (receipt !== null) print(receipt);
await withRoom(() => storage.close());
print({ steps: steps.count() });

async function act(to: Storage): Promise<unknown> {
  switch (scenario) {
    case 'first save':
      return to.save({ ...ref, files: CONTENTS.new, tree: 'now' });
    case 'save':
      return to.save({ ...ref, files: CONTENTS.new });
    case 'write': {
      const writer = to.writer(ref);
      try {
        for (const [path, text] of Object.entries(CONTENTS.new)) await writer.write(path, text);
        return await writer.commit();
      } catch (error) {
        await writer.abort();
        throw error;
      }
    }
    case 'replace':
      return to.save({ ...ref, files: CONTENTS.new, replace: true });
    case 'delete':
      return to.delete(ref);
    case 'lay out':
      return to.get(ref);
    case 'drop the tree':
      return { ref, ...(await to.cleanupTrees({ all: true })) };
    case 'activate':
      return to.activate(ref);
    case 'read unsettled':
      return { ref, texts: await readWhileFull(to) };
    case 'settle twice':
      return beside(to, (other) => other.archive(ref));
    case 'settle and replace':
      return beside(to, (other) => other.save({ ...ref, files: CONTENTS.new, replace: true }));
    case 'settle and delete':
      return beside(to, (other) => other.delete(ref));
    case 'undelete':
      return to.undelete(ref);
    case 'undelete content': {
      const [before] = (await to.show(ref)).replaced;
      return to.undelete(ref, { digest: before!.digest });
    }
    case 'undelete twice':
      return both(to, (one) => one.undelete(ref));
    case 'delete and undelete': {
      const undelete = (one: Storage) => one.undelete(ref);
      return both(to, undelete, (other) => other.delete(ref));
    }
    case 'follow':
    case 'follow and lose the catalog':
      return { ref, followed: await to.learnChanges() };
    case 'purge':
      return { ref, ...(await to.purge()) };
    case 'restore':
      return { ref, ...(await to.restore({ projectId: ref.projectId })) };
    case 'restore twice':
      return both(to, (one) => one.restore({ projectId: ref.projectId }));
    case 'resend':
      await to.resend(ref.projectId);
      while ((await to.status()).outbox.owed > 0) await to.drain(100);
      return { ref };
    case 'scrub':
      return { ref, ...(await to.scrub()) };
    case 'migrate':
      return { ref, leftOut: await to.adopt(ref) };
    case 'upload':
      while ((await to.status()).outbox.owed > 0) await to.drain(100);
      return null;
  }
}

/** Settles while another storage does something else with the same generation, whose answer counts. */
async function beside<T>(to: Storage, work: (other: Storage) => Promise<T>): Promise<T> {
  const other = await open();
  try {
    // What is replaced or deleted meanwhile has no archive any more.
    const settling = to.archive(ref).catch((error: StorageError) => {
      if (error.code !== 'not_found') throw error;
    });
    const [answer] = await Promise.all([work(other), settling]);
    return answer;
  } finally {
    await other.close();
  }
}

/** Two storages do it at once, or each its own; one may find the other at it. */
async function both(
  to: Storage,
  work: (one: Storage) => Promise<unknown>,
  otherWork = work,
): Promise<unknown> {
  const other = await open();
  try {
    const outcomes = await Promise.allSettled([work(to), otherWork(other)]);
    const failures = outcomes.flatMap((outcome) =>
      outcome.status === 'rejected' ? [outcome.reason as StorageError] : [],
    );
    // It was in the other's way.
    for (const failure of failures) if (failure.code !== 'unavailable') throw failure;
    return failures.length === outcomes.length ? null : { ref };
  } finally {
    await other.close();
  }
}

/** The files of a generation, read while there is no room at all. */
async function readWhileFull(storage: Storage): Promise<Record<string, string>> {
  steps.fill();
  const generation = await storage.open(ref);
  const texts: Record<string, string> = {};
  for (const { path } of await generation.files()) {
    const pieces: Uint8Array[] = [];
    for await (const piece of generation.read(path)) pieces.push(Uint8Array.from(piece));
    texts[path] = String(Buffer.concat(pieces));
  }
  await generation.close();
  steps.makeRoom();
  return texts;
}

/** Where the disk is full, or fails, says what it came to, then makes room and does it again. */
async function withRoom<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (process.env.CRASH_HOW === undefined) throw error;
    const { code, message } = error as StorageError;
    print({
      full: {
        code,
        message,

        left: filesOf(process.env.FILE_STORAGE_PATH!),
      },
    });
    steps.makeRoom();
    return work();
  }
}

function filesOf(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder, { recursive: true }).map(String) : [];
}
