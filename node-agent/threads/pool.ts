import { extname } from 'node:path';
import type { Tinypool } from 'tinypool';
import { StorageError } from '../contract.ts';

/** How long an idle thread is kept, in milliseconds. */
const IDLE_MS = 30_000;
/**
 * What a task leaves is small objects that hold native memory, as hashes do. V8 does not count
 * that: a larger nursery, by default of 48 MB, would let it pile up before it is looked through.
 */
const NURSERY_MB = 8;

/** What a pool may be told. */
type Settings = Readonly<{
  maxThreads: number;
  concurrentTasksPerWorker?: number;
  resourceLimits?: Readonly<{ maxOldGenerationSizeMb: number }>;
}>;

type Pool = Readonly<{ pool: Tinypool; cause(): unknown }>;

/** Idle ones that nobody has, by what runs in them: to start a thread takes longer than most tasks. */
const spares = new Map<string, Pool>();

/** Worker threads of one kind, of which none is kept for long. The first task starts them. */
export class Threads {
  readonly #module: string;
  readonly #settings: Settings;
  #pool: Promise<Pool> | null = null;
  #running = 0;
  #isClosed = false;

  /** @param module what runs in them, by its URL */
  constructor(module: string, settings: Settings) {
    this.#module = module;
    this.#settings = settings;
  }

  /**
   * @param name of the function of the module
   * @param signal ends the thread at once, whatever it is at
   * @throws StorageError `unavailable` where no thread can be started; what the task throws
   */
  async run(
    input: unknown,
    { name, signal = null }: { name: string; signal?: AbortSignal | null },
  ): Promise<unknown> {
    this.#running++;
    try {
      this.#pool ??= this.#take();
      const { pool, cause } = await this.#pool;
      if (this.#isClosed) throw new Error('The threads are closed');
      return await pool.run(input, { name, signal }).catch((error: Error) => {
        if (error.name !== 'CancelError') throw error;
        const reason = cause() instanceof Error ? (cause() as Error).message : 'nobody says why';
        throw new StorageError('unavailable', `Cannot start a thread: ${reason}`, {
          cause: cause(),
        });
      });
    } finally {
      this.#running--;
    }
  }

  /** Ends what runs. Idle threads are left to who asks for such next. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const isIdle = this.#running === 0;
    const taken = await this.#pool;
    if (taken === null) return;
    if (isIdle && taken.cause() === null && !spares.has(this.#module)) {
      spares.set(this.#module, taken);
    } else {
      await taken.pool.destroy();
    }
  }

  async #take(): Promise<Pool> {
    const spare = spares.get(this.#module);
    if (spare === undefined) return makePool(this.#module, this.#settings);
    spares.delete(this.#module);
    return spare;
  }
}

/** A pool that says so where no thread can be started: what waits for one would wait for ever. */
async function makePool(module: string, settings: Settings): Promise<Pool> {
  const { Tinypool } = await import('tinypool');
  const pool = new Tinypool({
    filename: module,
    runtime: 'worker_threads',
    minThreads: 0,
    idleTimeout: IDLE_MS,
    // Flags of the host process are not for threads: some, like --input-type, would break them.
    execArgv: [],
    ...settings,
    resourceLimits: { maxYoungGenerationSizeMb: NURSERY_MB, ...settings.resourceLimits },
  });
  let last: unknown = null;
  pool.on('error', (cause) => {
    last = cause;
    // Where others run they do it.
    if (pool.threads.length === 0) pool.cancelPendingTasks();
  });
  return { pool, cause: () => last };
}

/**
 * Makes a pool of worker threads.
 *
 * @param name of the module that runs in them, without its extension
 * @param beside the URL of the module that asks: a source file when the source runs, a compiled one
 *   when the package does
 */
export function makeThreads(name: string, beside: string, settings: Settings): Threads {
  return new Threads(new URL(`./${name}${extname(beside)}`, beside).href, settings);
}
