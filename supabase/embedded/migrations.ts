import { readdir, readFile } from 'node:fs/promises';

const FOLDER = new URL('../migrations/', import.meta.url);

/** A file of `supabase/migrations`: `{version}_{name}.sql`. */
export type Migration = Readonly<{ version: string; name: string; sql: string }>;

/** Reads all of them, in the order in which the CLI applies them. */
export async function readMigrations(): Promise<Migration[]> {
  const files = (await readdir(FOLDER)).filter((name) => name.endsWith('.sql')).sort();
  return Promise.all(
    files.map(async (file) => {
      const [version = '', name = ''] = file.replace(/\.sql$/, '').split(/_(.*)/s);
      return { version, name, sql: await readFile(new URL(file, FOLDER), 'utf8') };
    }),
  );
}
