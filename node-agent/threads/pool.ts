import { extname } from 'node:path';
import { type Options, Tinypool } from 'tinypool';
import { StorageError } from '../contract.ts';

/** How long an idle thread is kept, in milliseconds. */
const IDLE_MS = 30_000;
/**
 * What a task leaves is small objects that hold native memory, as hashes do. V8 does not count
 * that: a larger nursery, by default of 48 MB, would let it pile up before it is looked through.
 */
const NURSERY_MB = 8;

/** A pool that says so where no thread can be started: what waits for one would wait for ever. */
export class Threads extends Tinypool {
  #cause: unknown = null;

  constructor(options: Options) {
    super(options);
    this.on('error', (cause) => {
      this.#cause = cause;
      // Where others run they do it.
      if (this.threads.length === 0) this.cancelPendingTasks();
    });
  }

  /** @throws StorageError `unavailable` where no thread can be started; what the task throws */
  override async run(...args: Parameters<Tinypool['run']>): Promise<unknown> {
    try {
      return await super.run(...args);
    } catch (error) {
      if ((error as Error).name !== 'CancelError') throw error;
      const reason = this.#cause instanceof Error ? this.#cause.message : 'nobody says why';
      const message = `Cannot start a thread: ${reason}`;
      throw new StorageError('unavailable', message, { cause: this.#cause });
    }
  }
}

/**
 * Makes a pool of worker threads, of which none is kept for long.
 *
 * @param name of the module that runs in them, without its extension
 * @param beside the URL of the module that asks: a source file when the source runs, a compiled one
 *   when the package does
 */
export function makeThreads(
  name: string,
  beside: string,
  options: Pick<Options, 'maxThreads' | 'concurrentTasksPerWorker' | 'resourceLimits'>,
): Threads {
  return new Threads({
    filename: new URL(`./${name}${extname(beside)}`, beside).href,
    runtime: 'worker_threads',
    minThreads: 0,
    idleTimeout: IDLE_MS,
    // Flags of the host process are not for threads: some, like --input-type, would break them.
    execArgv: [],
    ...options,
    resourceLimits: { maxYoungGenerationSizeMb: NURSERY_MB, ...options.resourceLimits },
  });
}
