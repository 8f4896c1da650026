/** What runs in the threads of a test. */
import { threadId } from 'node:worker_threads';

/** Which thread this is. */
export function which(): number {
  return threadId;
}

/** Ends with its thread. @param begun is told that it runs */
export function hang({ begun }: { begun: Int32Array }): Promise<never> {
  Atomics.store(begun, 0, 1);
  Atomics.notify(begun, 0);
  return new Promise(() => setInterval(() => {}, 1000));
}

export function fail(): never {
  throw new TypeError('as it was thrown');
}
