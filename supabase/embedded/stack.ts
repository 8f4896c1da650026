import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getRequestListener } from '@hono/node-server';
import { asAuth } from './auth.ts';
import { type Database, openDatabase } from './database.ts';
import { type Functions, startFunctions } from './functions.ts';
import { createGateway, type Upstream } from './gateway.ts';
import { createKeys, type Keys } from './keys.ts';
import { lockFolder } from './lock.ts';
import { asPostgrest } from './rest.ts';
import { createStorageApp } from './storage/app.ts';
import { Blobs } from './storage/blobs.ts';
import type { Objects } from './storage/objects.ts';
import { Resumable } from './storage/resumable.ts';
import { Sessions, type Transactions } from './storage/session.ts';
import { type TokenAlgorithm, Tokens } from './tokens.ts';

/** What the hosted free plan takes: 50 MiB an object. */
const FILE_SIZE_LIMIT = 52_428_800;
/** How long an idle connection is kept. */
const KEEP_ALIVE_MS = 65_000;

export type StackOptions = {
  /** Where to keep database and objects. Left out: nothing is kept. */
  folder?: string;
  /** @default 54321, another where that is taken; 0: any */
  port?: number;
  /** Bytes of one object. @default 50 MiB */
  fileSizeLimit?: number;
  /** How tokens of users are signed. @default ES256, as in new projects */
  tokens?: TokenAlgorithm;
  /** Whether to start Deno. @default true */
  functions?: boolean;
  /** A PostgreSQL and a PostgREST in the place of what is embedded. Auth stays that. */
  instead?: { pg: Transactions; rest: Upstream };
};

export type Stack = Readonly<{
  /** What `createClient` of supabase-js takes. */
  url: string;
  keys: Keys;
  database: Database;
  close(): Promise<void>;
}>;

/**
 * Starts Supabase in this process: database, Auth, REST, Storage and the Edge Functions behind
 * one port of loopback. For first runs, development and tests; its keys are public.
 */
export async function startStack(options: StackOptions = {}): Promise<Stack> {
  const closers: (() => unknown)[] = [];
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    const folder = options.folder ?? (await mkdtemp(join(tmpdir(), 'codebegen-stack-')));
    await mkdir(folder, { recursive: true });
    if (options.folder === undefined) closers.push(() => rm(folder, { recursive: true }));
    const lock = lockFolder(folder);
    closers.push(() => lock.release());

    const keys = await createKeys();
    const tokens = new Tokens(keys, options.tokens ?? 'ES256');
    const database = await openDatabase({
      keys,
      ...(options.folder === undefined ? {} : { folder: join(folder, 'database') }),
    });
    closers.push(() => database.close());

    const blobs = new Blobs(join(folder, 'objects'));
    await blobs.open();
    const objects: Objects = {
      sessions: new Sessions(options.instead?.pg ?? database.pg, tokens, keys.jwtSecret),
      blobs,
      fileSizeLimit: options.fileSizeLimit ?? FILE_SIZE_LIMIT,
    };

    let url = '';
    let functions: Functions | null = null;
    const gateway = createGateway({
      keys,
      auth: asAuth(database.app, tokens, () => url),
      rest: options.instead?.rest ?? asPostgrest(database.app, keys, tokens),
      storage: createStorageApp(objects, new Resumable(objects, () => url)),
      functionsOrigin: () => functions?.origin ?? null,
    });
    // Longer than any client keeps one: else both may close it while the other begins to use it.
    const server = createServer(
      { keepAliveTimeout: KEEP_ALIVE_MS },
      getRequestListener(gateway.fetch),
    );
    const port = await listen(server, options.port ?? 54_321);
    closers.push(() => closeServer(server));
    url = `http://127.0.0.1:${port}`;

    if (options.functions !== false) {
      functions = await startFunctions({
        SUPABASE_URL: url,
        SUPABASE_ANON_KEY: keys.anonKey,
        SUPABASE_SERVICE_ROLE_KEY: keys.serviceRoleKey,
        SUPABASE_PUBLISHABLE_KEYS: JSON.stringify({ default: keys.publishableKey }),
        SUPABASE_SECRET_KEYS: JSON.stringify({ default: keys.secretKey }),
        SUPABASE_JWKS: JSON.stringify(tokens.jwks),
        ...(tokens.algorithm === 'HS256' ? { JWT_SECRET: keys.jwtSecret } : {}),
      });
      closers.push(functions.close);
    }
    return { url, keys, database, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Listens on the port, or on any free one where it is taken. */
async function listen(server: Server, port: number): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EADDRINUSE') server.listen(0, '127.0.0.1');
    else reject(error);
  });
  server.on('listening', resolve);
  server.listen(port, '127.0.0.1');
  await promise;
  return (server.address() as AddressInfo).port;
}

async function closeServer(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeAllConnections();
  await closed;
}
