/** Whether what is in a store can be used by who runs this. */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { accessSync, constants, existsSync, statSync, writeFileSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setImmediate as breathe } from 'node:timers/promises';
import { promisify } from 'node:util';
import { fromSqlite, isBusy } from '../catalog/errors.ts';
import { openPrivate } from '../catalog/open-private.ts';
import { isId, StorageError } from '../contract.ts';
import { fromFileSystem } from '../disk/file-errors.ts';
import { listFolder } from '../disk/list-folder.ts';
import { PRIVATE_FILE } from '../disk/private.ts';
import { Layout } from '../store/layout.ts';
import { fail, messageOf, type Outcome, pass, remedyFor } from './check.ts';

/** How long the catalog is waited for, in milliseconds. */
const BUSY_MS = 2000;
const LOCK_TIMEOUT_MS = 10_000;

/** Whether what is staged can be renamed into place: mounts in between are seen by trying alone. */
export async function checkRename(storePath: string): Promise<Outcome> {
  const { own, staging } = new Layout(storePath);
  if (!existsSync(own)) return pass('the first save makes what it stages things in');
  const from = join(existsSync(staging) ? staging : own, `.doctor-${randomUUID()}`);
  const to = join(storePath, `.doctor-${randomUUID()}`);
  try {
    writeFileSync(from, '', { flag: 'wx', mode: PRIVATE_FILE });
    await rename(from, to);
    return pass('what is staged can be renamed into place');
  } catch (error) {
    const known = fromFileSystem(error, `rename from "${own}" into "${storePath}"`);
    return fail(
      messageOf(known),
      (error as NodeJS.ErrnoException).code === 'EXDEV'
        ? 'Mount both as one: what is saved is renamed from the one into the other'
        : remedyFor(known, ownIt(storePath)),
    );
  } finally {
    for (const path of [from, to]) await rm(path, { force: true }).catch(() => {});
  }
}

/** Whether the catalog can be written. Nothing is. */
export async function checkCatalog(storePath: string): Promise<Outcome> {
  const { catalog } = new Layout(storePath);
  if (!existsSync(catalog)) return pass('the first command makes it of what lies on the disk');
  let db: DatabaseSync | null = null;
  try {
    db = new DatabaseSync(catalog);
    db.exec(`pragma busy_timeout = ${BUSY_MS}; begin immediate; rollback`);
    return pass(`"${catalog}" can be written`);
  } catch (cause) {
    const error = fromSqlite(cause, catalog);
    if (isBusy(error)) return pass(`"${catalog}" is being written`);
    return fail(messageOf(error), remedyFor(error, ownIt(storePath)));
  } finally {
    db?.close();
  }
}

/** Whether each project can be saved to: one that another user saved to, by `sudo`, cannot. */
export async function checkProjects(storePath: string): Promise<Outcome> {
  const layout = new Layout(storePath);
  let count = 0;
  let names: string[];
  try {
    names = listFolder(storePath).filter(isId);
  } catch (error) {
    const known = fromFileSystem(error, 'look into the store');
    return fail(messageOf(known), remedyFor(known, ownIt(storePath)));
  }
  for (const name of names) {
    for (const path of [layout.project(name), layout.generations(name)]) {
      try {
        if (statSync(path).isDirectory()) accessSync(path, constants.W_OK | constants.X_OK);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') continue;
        const known = fromFileSystem(error, `save to "${name}"`);
        return fail(messageOf(known), remedyFor(known, ownIt(storePath)));
      }
    }
    count++;
    await breathe();
  }
  return pass(count === 1 ? 'one can be saved to' : `${count} can be saved to`);
}

/** Whether a lock that one process has keeps another one out: on some file systems it does not. */
export async function checkLocks(storePath: string): Promise<Outcome> {
  if (!existsSync(storePath)) return pass('nothing is saved there yet');
  const path = join(storePath, `.doctor-${randomUUID()}`);
  let lock: DatabaseSync | null = null;
  try {
    lock = openPrivate(path);
    lock.exec('begin exclusive');
    const { stdout } = await promisify(execFile)(process.execPath, ['-e', TAKE_LOCK, path], {
      timeout: LOCK_TIMEOUT_MS,
    });
    if (stdout === 'locked') return pass('who has one keeps others out');
    return fail(
      `locks on "${storePath}" do nothing: two processes could write the same file`,
      'Put the store on a local disk: FILE_STORAGE_PATH',
    );
  } catch (cause) {
    const error = fromSqlite(cause, path);
    if (!(error instanceof StorageError)) throw error;
    return fail(`it cannot be tried: ${error.message}`, remedyFor(error, ownIt(storePath)));
  } finally {
    lock?.close();
    for (const suffix of ['', '-journal']) await rm(path + suffix, { force: true }).catch(() => {});
  }
}

/** Another process: within one SQLite asks itself, and not the file system. */
const TAKE_LOCK = `
const db = new (require('node:sqlite').DatabaseSync)(process.argv[1]);
try {
  db.exec('pragma busy_timeout = 0; begin exclusive');
  process.stdout.write('free');
} catch {
  process.stdout.write('locked');
}`;

function ownIt(storePath: string): string {
  return `As root: chown -R ${process.getuid?.()}:${process.getgid?.()} "${storePath}"; and run everything as this user from then on`;
}
