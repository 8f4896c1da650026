import { randomUUID } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { PRIVATE_FILE, PRIVATE_FOLDER } from '../disk/private.ts';
import { fromSqlite } from './errors.ts';
import { openPrivate } from './open-private.ts';

/** How long a lock is waited for that somebody looks at, in milliseconds. */
const BUSY_MS = 10_000;
const SUFFIX = '.lock';
const URL_SUFFIX = '.url';

/** Whether a process has the store open whose instances are in a folder. */
export function isAnyRunning(folder: string): boolean {
  if (!existsSync(folder)) return false;
  return readdirSync(folder)
    .filter((name) => name.endsWith(SUFFIX))
    .some((name) => isLocked(join(folder, name)));
}

function isLocked(file: string): boolean {
  if (!existsSync(file)) return false;
  let lock: DatabaseSync | null = null;
  try {
    lock = new DatabaseSync(file);
    // Reading: two that look at the same time must not take each other for the instance.
    lock.exec('pragma busy_timeout = 0; select count(*) from sqlite_master');
    return false;
  } catch {
    return true;
  } finally {
    lock?.close();
  }
}

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
    mkdirSync(folder, { recursive: true, mode: PRIVATE_FOLDER });
    this.#lock = openPrivate(this.#file(this.id));
    try {
      this.#lock.exec(
        `pragma busy_timeout = ${BUSY_MS}; pragma locking_mode = exclusive; begin exclusive`,
      );
    } catch (error) {
      this.#lock.close();
      throw fromSqlite(error, this.#file(this.id));
    }
  }

  /** Tells whether an instance no longer runs. */
  isGone(id: string): boolean {
    if (id === this.id) return false;
    return !isLocked(this.#file(id));
  }

  /** The other instances: those that run, and those that ended without closing. */
  others(): { running: string[]; gone: string[] } {
    const ids = readdirSync(this.#folder)
      .filter((name) => name.endsWith(SUFFIX))
      .map((name) => name.slice(0, -SUFFIX.length))
      .filter((id) => id !== this.id);
    const { running = [], gone = [] } = Object.groupBy(ids, (id) =>
      this.isGone(id) ? 'gone' : 'running',
    );
    return { running, gone };
  }

  /** Lets other instances know under which URL this one serves. */
  announce(url: string): void {
    const temporary = `${this.#urlFile(this.id)}.new`;
    writeFileSync(temporary, url, { mode: PRIVATE_FILE });
    renameSync(temporary, this.#urlFile(this.id));
  }

  /** The URL under which a running instance serves; `null` where none does. */
  announced(): string | null {
    const serving = readdirSync(this.#folder)
      .filter((name) => name.endsWith(URL_SUFFIX))
      .map((name) => name.slice(0, -URL_SUFFIX.length));
    for (const id of serving) {
      if (!this.isGone(id)) return readFileSync(this.#urlFile(id), 'utf8');
    }
    return null;
  }

  /** Forgets an instance that is gone, once what it left is settled. */
  forget(id: string): void {
    rmSync(this.#file(id), { force: true });
    rmSync(`${this.#file(id)}-journal`, { force: true });
    rmSync(this.#urlFile(id), { force: true });
  }

  /** @param clean whether all is in order; else the next start looks at everything */
  close(clean = true): void {
    this.#lock.close();
    try {
      if (clean) this.forget(this.id);
      else rmSync(this.#urlFile(this.id), { force: true });
    } catch {
      // Whoever comes next sees that it is gone.
    }
  }

  #file(id: string): string {
    return join(this.#folder, `${id}${SUFFIX}`);
  }

  #urlFile(id: string): string {
    return join(this.#folder, `${id}${URL_SUFFIX}`);
  }
}
