/**
 * An empty database with the platform's schemas and our migrations, kept for the next start: to make it
 * takes five times as long as to read it.
 */
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, openAsBlob } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { PGlite } from '@electric-sql/pglite';
import { readMigrations } from './migrations.ts';

const CACHE = new URL('../../node_modules/.cache/codebegen-stack/', import.meta.url);
/** What it is made of. The packages are pinned in the first. */
const SOURCES = ['../../package.json', './platform.sql', './database.ts', './lite.ts'];

/** Where the snapshot of this very state of things is, or will be. */
export async function snapshotPath(): Promise<string> {
  const hash = createHash('sha256');
  for (const source of SOURCES) hash.update(await readFile(new URL(source, import.meta.url)));
  for (const { sql } of await readMigrations()) hash.update(sql);
  return fileURLToPath(new URL(`${hash.digest('hex').slice(0, 32)}.tar`, CACHE));
}

/** `null` where there is none yet. */
export async function readSnapshot(path: string): Promise<Blob | null> {
  return existsSync(path) ? openAsBlob(path) : null;
}

/** Keeps it; where that cannot be done the next start takes longer, as this one did. */
export async function keepSnapshot(pg: PGlite, path: string): Promise<void> {
  const temporary = `${path}.${randomUUID()}`;
  try {
    await mkdir(CACHE, { recursive: true });
    const dump = await pg.dumpDataDir('none');
    await writeFile(temporary, Buffer.from(await dump.arrayBuffer()));
    await rename(temporary, path);
    // Of an earlier state nobody begins any more.
    for (const name of await readdir(CACHE)) {
      if (name !== basename(path)) await rm(new URL(name, CACHE), { force: true });
    }
  } catch {
    await rm(temporary, { force: true }).catch(() => {});
  }
}
