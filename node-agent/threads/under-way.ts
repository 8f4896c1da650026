import { StorageError } from '../contract.ts';

/** Work that whoever closes waits for: what began is done then, and nothing else begins. */
export class UnderWay {
  readonly #running = new Set<Promise<unknown>>();
  #isClosed = false;

  /**
   * @param doing for the message, as in "Cannot …"
   * @throws StorageError `unavailable` once it is closed
   */
  async run<T>(doing: string, work: () => T | Promise<T>): Promise<T> {
    if (this.#isClosed) {
      throw new StorageError('unavailable', `Cannot ${doing}: the storage is closed`);
    }
    const running = (async () => work())();
    this.#running.add(running);
    try {
      return await running;
    } finally {
      this.#running.delete(running);
    }
  }

  /** Takes no more. */
  close(): void {
    this.#isClosed = true;
  }

  /** Resolves once all that was begun has ended, however it did. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#running);
  }
}
