import { readFile } from 'node:fs/promises';
import { PGlite } from '@electric-sql/pglite';
import { PGLiteSocketServer } from '@electric-sql/pglite-socket';
import { onTestFinished } from 'vitest';

const PLATFORM = new URL('../../supabase/embedded/platform.sql', import.meta.url);

/** A PostgreSQL as that of a new Supabase project, behind a port, for the CLI to push to. */
export async function startPostgres(): Promise<{ url: string; pg: PGlite }> {
  const pg = new PGlite();
  await pg.exec(await readFile(PLATFORM, 'utf8'));
  const server = new PGLiteSocketServer({ db: pg, host: '127.0.0.1', port: 0, maxConnections: 8 });
  await server.start();
  onTestFinished(async () => {
    await server.stop();
    await pg.close();
  });
  const url = `postgresql://postgres:postgres@${server.getServerConn()}/postgres?sslmode=disable`;
  return { url, pg };
}
