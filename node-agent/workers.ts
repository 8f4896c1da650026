import { availableParallelism } from 'node:os';
import type { Unpacked, UnpackInput } from './archive/unpack.ts';
import type { UnpackWork } from './cache/cache.ts';
import { type Limits, StorageError } from './contract.ts';
import { type ParsedSave, parseSaveBody } from './save-json.ts';
import type { CommitInput } from './store/commit.ts';
import type { Described } from './store/flat.ts';
import type { ArchiveFacts } from './store/hash.ts';
import type { LeftOut } from './store/left-out.ts';
import type { Source } from './store/source.ts';
import type { Digested, Parallel, Staged, StageInput } from './store/stage.ts';
import type { AdoptInput, StageWork } from './store/store.ts';
import { makeThreads } from './threads.ts';
import type { Outcome } from './worker.ts';

/** Bytes of JSON that are parsed in a millisecond or two. */
const SMALL_BODY = 256 * 1024;

/** What would stall the event loop. */
export type HeavyWork = StageWork &
  UnpackWork & {
    parse(input: { body: Uint8Array; limits: Limits }): Promise<ParsedSave>;
    close(): Promise<void>;
  };

/** The threads that do the heavy work. */
export class Workers implements HeavyWork {
  /** Tasks that pack, those that wait with them. */
  #packing = 0;
  readonly #pool = makeThreads('worker', import.meta.url, {
    maxThreads: Math.max(2, availableParallelism()),
  });

  stage(input: StageInput): Promise<Staged> {
    return this.#pack('stage', input);
  }

  commit(input: CommitInput): Promise<Staged> {
    return this.#pack('commit', input);
  }

  digest(source: Source, limits: Limits): Promise<Digested> {
    return this.#run('digest', { source, limits });
  }

  unpack(input: UnpackInput): Promise<Unpacked> {
    return this.#run('unpack', input);
  }

  sync(folder: string): Promise<void> {
    return this.#run('sync', folder);
  }

  repair(input: { folder: string; scratch: string; limits: Limits }): Promise<boolean> {
    return this.#run('repair', input);
  }

  repack(input: { folder: string; scratch: string }): Promise<ArchiveFacts> {
    return this.#pack('repack', input);
  }

  adopt(input: AdoptInput): Promise<LeftOut> {
    return this.#pack('adopt', input);
  }

  check(folder: string, signal?: AbortSignal): Promise<string[]> {
    return this.#run('check', folder, signal);
  }

  /** A small body takes less time than the way to a thread and back. */
  async parse(input: { body: Uint8Array; limits: Limits }): Promise<ParsedSave> {
    if (input.body.length <= SMALL_BODY) return parseSaveBody(input.body, input.limits);
    return this.#run('parse', input);
  }

  describe(input: { root: string; projectId: string; limits: Limits }): Promise<Described> {
    return this.#run('describe', input);
  }

  async close(): Promise<void> {
    await this.#pool.destroy();
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
    const outcome = (await this.#pool.run(input, { name, signal: signal ?? null })) as Outcome<T>;
    if ('value' in outcome) return outcome.value;
    const { code, message, cause } = outcome.failure;
    throw new StorageError(code, message, { cause });
  }
}
