import { join } from 'node:path';
import { type AuthResponse, createClient } from '@supabase/supabase-js';
import { createMetrics } from '../../../node-agent/daemon/metrics.ts';
import type { Daemon } from '../../../node-agent/daemon/serve.ts';
import { openStorage, readConfig, type Storage } from '../../../node-agent/index.ts';
import type { Keys } from '../keys.ts';
import { startStack } from '../stack.ts';
import { serveDashboard } from './dashboard.ts';
import { giveHostKey } from './give-host-key.ts';

/** A signed-in user of the web app. */
export type Visitor = Readonly<{ id: string; email: string; token: string }>;

/** Everything that runs: Supabase, the agent, and two people. */
export type House = Readonly<{
  url: string;
  keys: Keys;
  storage: Storage;
  owner: Visitor;
  stranger: Visitor;
  /** What the agent could not do in the background, so far. */
  problems: unknown[];
  /** Serves the page of the agent, from now on. @returns its address */
  serve(): Promise<string>;
  /** May be called again. */
  close(): Promise<void>;
}>;

const PASSWORD = 'correct-horse-battery';

export async function startHouse(options: {
  data: string;
  port: number;
  say: (line: string) => void;
}): Promise<House> {
  const began = performance.now();
  const stack = await startStack({ folder: join(options.data, 'stack'), port: options.port });
  const problems: unknown[] = [];
  const metrics = createMetrics();
  try {
    const place = {
      USE_CLOUD_STORAGE: 'true',
      SUPABASE_URL: stack.url,
      FILE_STORAGE_PATH: join(options.data, 'projects'),
      CACHE_PATH: join(options.data, 'cache'),
    };
    const keyFile = join(options.data, 'host.key');
    await giveHostKey(keyFile, { ...place, SUPABASE_SERVICE_KEY: stack.keys.serviceRoleKey });
    const storage = await openStorage({
      ...readConfig({ ...place, HOST_KEY_FILE: keyFile }),
      onProblem: (error) => problems.push(error),
      onEvent: metrics.onEvent,
    });
    const owner = await signIn(stack.url, stack.keys, 'ada@example.com');
    const stranger = await signIn(stack.url, stack.keys, 'grace@example.com');
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    options.say(`Supabase (embedded) and the agent are up after ${seconds} s: ${stack.url}`);
    let closed: Promise<void> | null = null;
    let daemon: Daemon | null = null;
    const close = async () => {
      await daemon?.close();
      await storage.close();
      await stack.close();
    };
    return {
      url: stack.url,
      keys: stack.keys,
      storage,
      owner,
      stranger,
      problems,
      async serve() {
        daemon ??= await serveDashboard(storage, metrics);
        return daemon.url;
      },
      close: () => {
        closed ??= close();
        return closed;
      },
    };
  } catch (error) {
    await stack.close();
    throw error;
  }
}

/** Signs a user in, as the web app would; up where this is the first time. */
async function signIn(url: string, keys: Keys, email: string): Promise<Visitor> {
  const client = createClient(url, keys.publishableKey, { auth: { persistSession: false } });
  const credentials = { email, password: PASSWORD };
  let answer: AuthResponse = await client.auth.signInWithPassword(credentials);
  if (answer.error !== null) answer = await client.auth.signUp(credentials);
  const { user, session } = answer.data;
  if (session === null || user === null) {
    throw new Error(`Cannot sign in "${email}"`, { cause: answer.error });
  }
  return { id: user.id, email, token: session.access_token };
}
