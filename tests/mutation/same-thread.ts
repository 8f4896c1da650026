/**
 * In the place of `threads/pool.ts`: what runs in threads runs in this one, so that Stryker sees which
 * test comes through which line.
 */
import { extname } from 'node:path';

type Task = (input: unknown) => Promise<unknown>;

/** A pool that has no threads. */
export class Threads {
  readonly #module: string;

  constructor(module: string) {
    this.#module = module;
  }

  async run(input: unknown, { name }: { name: string }): Promise<unknown> {
    const tasks = (await import(/* @vite-ignore */ this.#module)) as Record<string, Task>;
    return structuredClone(await tasks[name]!(structuredClone(input)));
  }

  async close(): Promise<void> {}
}

/** As that of `threads/pool.ts`. */
export function makeThreads(name: string, beside: string): Threads {
  return new Threads(new URL(`./${name}${extname(beside)}`, beside).href);
}
