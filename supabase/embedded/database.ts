import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type PGlite, types } from '@electric-sql/pglite';
import { pgtap } from '@electric-sql/pglite/pgtap';
import { createPgliteConnection } from '@supabase/lite/pglite';
import type { Keys } from './keys.ts';
import { createLiteApp, finishSchema, type LiteApp } from './lite.ts';
import { readMigrations } from './migrations.ts';
import { keepSnapshot, readSnapshot, snapshotPath } from './snapshot.ts';

const PLATFORM = new URL('./platform.sql', import.meta.url);

export type Database = Readonly<{
  pg: PGlite;
  /** Auth and REST on this database. */
  app: LiteApp;
  close(): Promise<void>;
}>;

type DatabaseOptions = {
  keys: Keys;
  /** A folder to keep the data in. Left out: in memory. */
  folder?: string;
};

/**
 * Opens PostgreSQL in this process with what hosted Supabase has and our migrations applied.
 * Opening a folder again finds its data and applies the migrations that are new.
 */
export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  process.env.LITE_TELEMETRY = '0';
  const isNew = options.folder === undefined || !existsSync(join(options.folder, 'PG_VERSION'));
  const path = isNew ? await snapshotPath() : null;
  const snapshot = path === null ? null : await readSnapshot(path);
  const connection = await createPgliteConnection({
    ...(options.folder === undefined ? {} : { url: options.folder }),
    pgliteOptions: {
      ...(snapshot === null ? {} : { loadDataDir: snapshot }),
      extensions: { pgtap },
      parsers: { [types.TIMESTAMP]: toIso, [types.TIMESTAMPTZ]: toIso },
    },
  });
  const pg = connection.driver;
  await pg.waitReady;
  const app = createLiteApp(connection, options.keys);
  await app.init();
  await app.ensureSystemSchema();
  await pg.exec(await readFile(PLATFORM, 'utf8'));
  await migrate(pg);
  if (path !== null && snapshot === null) await keepSnapshot(pg, path);
  await finishSchema(connection);
  return { pg, app, close: () => pg.close() };
}

/** Applies what is new under `supabase/migrations`, in the order and the book of the CLI. */
async function migrate(pg: PGlite): Promise<void> {
  const applied = await pg.query<{ version: string }>(
    'select version from supabase_migrations.schema_migrations',
  );
  const known = new Set(applied.rows.map((row) => row.version));
  for (const { version, name, sql } of await readMigrations()) {
    if (known.has(version)) continue;
    await pg.transaction(async (transaction) => {
      await transaction.exec(sql);
      await transaction.query(
        'insert into supabase_migrations.schema_migrations (version, name, statements) values ($1, $2, $3)',
        [version, name, [sql]],
      );
    });
  }
}

/** PostgREST gives times as ISO 8601; PGlite's own parser makes a Date of them. */
function toIso(time: string): string {
  return time.replace(' ', 'T').replace(/([+-]\d\d)$/, '$1:00');
}
