import { availableParallelism } from 'node:os';
import type { Unpacked, UnpackInput } from '../archive/unpack.ts';
import type { Limits } from '../contract.ts';
import { Grouped } from '../threads/grouped.ts';
import { fromOutcome, type Outcome } from '../threads/outcome.ts';
import { makeThreads } from '../threads/pool.ts';
import type { CommitInput, Committed } from './commit.ts';
import type { ArchiveFacts } from './hash.ts';
import type { Installed, InstallInput } from './install-archive.ts';
import type { LayOutInput } from './lay-out.ts';
import type { LeftOut } from './left-out.ts';
import type { Described } from './legacy/flat.ts';
import type { Digested, DigestInput, Parallel, Staged, StageInput } from './stage.ts';
import type { ConvertInput, StageWork } from './work.ts';

/** What would stall the event loop. */
export type HeavyWork = StageWork & { close(): Promise<void> };

const THREADS = Math.max(2, availableParallelism());
/** A thread does so many without looking at what else there is to do. */
const INSTALLED_TOGETHER = 16;

/** The threads that do the heavy work. */
export class Workers implements HeavyWork {
  /** Tasks that pack, those that wait with them. */
  #packing = 0;
  readonly #pool = makeThreads('worker', import.meta.url, {
    maxThreads: THREADS,
  });
  /** Half of the threads are left to others, and what comes meanwhile makes the next group larger. */
  readonly #installs = new Grouped(
    async (inputs: readonly InstallInput[]) => {
      const outcomes = await this.#pool.run(inputs, { name: 'install' });
      return Promise.allSettled(
        (outcomes as Outcome<Installed>[]).map(async (one) => fromOutcome(one)),
      );
    },
    { atOnce: THREADS / 2, most: INSTALLED_TOGETHER },
  );

  stage(input: StageInput): Promise<Staged> {
    return this.#run('stage', input);
  }

  commit(input: CommitInput): Promise<Committed> {
    return this.#run('commit', input);
  }

  install(input: InstallInput): Promise<Installed> {
    return this.#installs.run(input);
  }

  digest(input: DigestInput): Promise<Digested> {
    return this.#run('digest', input);
  }

  unpack(input: UnpackInput): Promise<Unpacked> {
    return this.#run('unpack', input);
  }

  sync(folder: string): Promise<void> {
    return this.#run('sync', folder);
  }

  layOut(input: LayOutInput): Promise<void> {
    return this.#run('layOut', input);
  }

  repack(input: { folder: string; scratch: string }): Promise<ArchiveFacts> {
    return this.#pack('repack', input);
  }

  settle(input: { folder: string; scratch: string }): Promise<ArchiveFacts | null> {
    return this.#pack('settle', input);
  }

  convert(input: ConvertInput): Promise<LeftOut> {
    return this.#pack('convert', input);
  }

  check(input: { folder: string; digest: string }, signal?: AbortSignal): Promise<string[]> {
    return this.#run('check', input, signal);
  }

  describe(input: { root: string; projectId: string; limits: Limits }): Promise<Described> {
    return this.#run('describe', input);
  }

  async close(): Promise<void> {
    await this.#pool.close();
  }

  /**
   * Where every core has a generation of its own to pack, more threads would not make it faster:
   * they would only have the event loop wait longer for its turn.
   */
  async #pack<T>(name: string, input: object): Promise<T> {
    this.#packing++;
    try {
      const { parallel }: Parallel = { parallel: 2 * this.#packing <= availableParallelism() };
      return await this.#run(name, { ...input, parallel });
    } finally {
      this.#packing--;
    }
  }

  /** @param signal ends the thread at once, whatever it is at */
  async #run<T>(name: string, input: unknown, signal?: AbortSignal): Promise<T> {
    return fromOutcome(
      (await this.#pool.run(input, { name, signal: signal ?? null })) as Outcome<T>,
    );
  }
}
