/** A generator host: the real agent on a disk of its own, of which every request is a step. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { StorageEvent } from '../../node-agent/events/events.ts';
import type { Storage } from '../../node-agent/index.ts';
import { openStorageOn } from '../../node-agent/storage/open.ts';
import * as worker from '../../node-agent/store/worker.ts';
import type { HeavyWork } from '../../node-agent/store/workers.ts';
import { fromOutcome, type Outcome } from '../../node-agent/threads/outcome.ts';
import { BUCKET, CLOUD_URL, type Cloud } from './cloud.ts';
import type { Schedule } from './schedule.ts';

/** Milliseconds that pass between two things that a host does. */
const A_WHILE = 10 * 60_000;

/** The heavy work in this thread: in an order that is always the same. */
function workHere(): HeavyWork {
  const value = async <T>(outcome: Promise<Outcome<T>>): Promise<T> => fromOutcome(await outcome);
  const alone = { parallel: false };
  return {
    stage: (input) => value(worker.stage(input)),
    commit: (input) => value(worker.commit(input)),
    install: async (input) => fromOutcome((await worker.install([input]))[0]!),
    digest: (input) => value(worker.digest(input)),
    unpack: (input) => value(worker.unpack(input)),
    sync: (folder) => value(worker.sync(folder)),
    layOut: (input) => value(worker.layOut(input)),
    repack: (input) => value(worker.repack({ ...input, ...alone })),
    settle: (input) => value(worker.settle({ ...input, ...alone })),
    convert: (input) => value(worker.convert({ ...input, ...alone })),
    check: (input) => value(worker.check(input)),
    describe: (input) => value(worker.describe(input)),
    close: async () => {},
  };
}

export class Host {
  readonly name: string;
  readonly events: StorageEvent[] = [];
  readonly #folder: string;
  readonly #cloud: Cloud;
  readonly #schedule: () => Schedule;
  #clock = 1_700_000_000_000;
  #storage!: Storage;

  private constructor(name: string, folder: string, cloud: Cloud, schedule: () => Schedule) {
    this.name = name;
    this.#folder = folder;
    this.#cloud = cloud;
    this.#schedule = schedule;
  }

  static async start(name: string, cloud: Cloud, schedule: () => Schedule): Promise<Host> {
    const folder = await mkdtemp(join(tmpdir(), 'codebegen-explore-'));
    const host = new Host(name, folder, cloud, schedule);
    // Two hosts never pack at the same millisecond.
    host.#clock += name.charCodeAt(0) * 1000;
    await host.#open();
    return host;
  }

  get storage(): Storage {
    return this.#storage;
  }

  async #open(): Promise<void> {
    this.#storage = await openStorageOn(
      {
        storePath: join(this.#folder, 'store'),
        cloud: { url: CLOUD_URL, key: this.#cloud.serviceKey, bucket: BUCKET },
        cache: { path: join(this.#folder, 'cache'), ttlMs: 1, maxAgeMs: 1, maxBytes: 1e9 },
        uploadConcurrency: 1,
        cleanupEveryMs: null,
        background: false,
        fetch: (input, init) => this.#send(String(input), init),
        now: () => this.#clock,
        monotonic: () => this.#clock,
        random: () => 0.5,
        onEvent: (event) => this.events.push(event),
      },
      workHere,
    );
  }

  async #send(url: string, init?: RequestInit): Promise<Response> {
    const method = init?.method ?? 'GET';
    const label = `${method} ${new URL(url).pathname.replace(/^\/(storage|rest)\/v1\//, '')}`;
    const { signal, ...rest } = init ?? {};
    return this.#schedule().send(
      label,
      // Made when it is carried out; it may be carried out after its sender is gone.
      () => this.#cloud.send(new Request(url, rest)),
      signal,
    );
  }

  /** Ends it in the middle of what it does, and starts it again. */
  async crash(): Promise<void> {
    await this.#storage.close({ drainMs: 0 });
    await this.#open();
  }

  async close(): Promise<void> {
    await this.#storage.close({ drainMs: 0 });
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** Lets time pass on this host: what waits for a retry is due. */
  passTime(): void {
    this.#clock += A_WHILE;
  }

  /** Whether it was told that what it had saved is not what others get. */
  wasTold(version: number): boolean {
    return this.events.some((event) => {
      const isTold =
        event.kind === 'generation.conflict' ||
        event.kind === 'generation.lost' ||
        (event.kind === 'generation.deleted' && event.where === 'cloud');
      return isTold && event.version === version;
    });
  }
}
