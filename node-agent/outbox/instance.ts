import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/**
 * This process among others on one store. It holds a lock of the kernel on a file of its own
 * (SQLite's lock: Node has no other), so that others see at once when it is gone, however it
 * ended: no heartbeat, no time-out, no reused process id.
 */
export class Instance {
  readonly id = randomUUID();
  readonly #folder: string;
  readonly #lock: DatabaseSync;

  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true });
    this.#lock = new DatabaseSync(this.#file(this.id));
    this.#lock.exec('pragma locking_mode = exclusive; begin exclusive');
  }

  /** Tells whether an instance no longer runs. */
  isGone(id: string): boolean {
    if (id === this.id) return false;
    const file = this.#file(id);
    if (!existsSync(file)) return true;
    let lock: DatabaseSync | null = null;
    try {
      lock = new DatabaseSync(file);
      lock.exec('pragma busy_timeout = 0; begin exclusive');
      return true;
    } catch {
      return false;
    } finally {
      lock?.close();
    }
  }

  /** Forgets an instance that is gone, once nothing refers to it. */
  forget(id: string): void {
    rmSync(this.#file(id), { force: true });
    rmSync(`${this.#file(id)}-journal`, { force: true });
  }

  close(): void {
    this.#lock.close();
    this.forget(this.id);
  }

  #file(id: string): string {
    return join(this.#folder, `${id}.lock`);
  }
}
