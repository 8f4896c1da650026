import type { PGlite } from '@electric-sql/pglite';

/** The tables of ours and of Storage, in an order in which rows may be put back. */
const TABLES = [
  'storage.buckets',
  'storage.objects',
  'public.storage_projects',
  'public.storage_generations',
  'public.storage_manifests',
  'public.storage_archives',
  'public.storage_check_ins',
];

/** Takes a backup of the database, as it is now. */
export async function takeBackup(pg: PGlite): Promise<void> {
  await pg.exec('drop schema if exists backup cascade; create schema backup;');
  for (const table of TABLES) {
    await pg.exec(`create table backup.${table.replace('.', '_')} as select * from ${table}`);
  }
}

/** Puts the database back to its last backup. The bytes of objects are not part of one. */
export async function restoreBackup(pg: PGlite): Promise<void> {
  await pg.transaction(async (transaction) => {
    await transaction.exec(`set local storage.allow_delete_query = 'true'`);
    for (const table of TABLES.toReversed()) await transaction.exec(`delete from ${table}`);
    for (const table of TABLES) {
      const [schema, name] = table.split('.');
      const { rows } = await transaction.query<{ columns: string }>(
        `select string_agg(quote_ident(column_name), ',') as columns
         from information_schema.columns
         where table_schema = $1 and table_name = $2 and is_generated = 'NEVER'`,
        [schema, name],
      );
      const { columns } = rows[0]!;
      await transaction.exec(
        `insert into ${table} (${columns}) select ${columns} from backup.${table.replace('.', '_')}`,
      );
    }
  });
}
