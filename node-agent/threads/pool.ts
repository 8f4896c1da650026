import { extname } from 'node:path';
import { type Options, Tinypool } from 'tinypool';

/** How long an idle thread is kept, in milliseconds. */
const IDLE_MS = 30_000;
/**
 * What a task leaves is small objects that hold native memory, as hashes do. V8 does not count
 * that: a larger nursery, by default of 48 MB, would let it pile up before it is looked through.
 */
const NURSERY_MB = 8;

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
): Tinypool {
  return new Tinypool({
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
