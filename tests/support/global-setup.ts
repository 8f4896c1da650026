import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { TestProject } from 'vitest/node';

/** How tests reach the one stack that they share. */
export type StackSettings = {
  SUPABASE_URL: string;
  SUPABASE_ANON_KEY: string;
  SUPABASE_PUBLISHABLE_KEY: string;
  SUPABASE_SERVICE_KEY: string;
  SUPABASE_SECRET_KEY: string;
  JWT_SECRET: string;
};

declare module 'vitest' {
  interface ProvidedContext {
    stack: StackSettings;
    /** What the conformance suite runs against. */
    conformance: { url: string; key: string };
  }
}

const EMBEDDED = fileURLToPath(new URL('../../supabase/embedded/main.ts', import.meta.url));
const POSTGRES = fileURLToPath(new URL('./postgres-stack.ts', import.meta.url));

/**
 * Starts one stack for all tests: each makes its own users, projects and buckets. `STACK=postgres` is
 * one on a real PostgreSQL. For the conformance suite alone, against a real Supabase, nothing is started.
 */
export async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  const { CONFORMANCE_URL, CONFORMANCE_SERVICE_KEY } = process.env;
  if (CONFORMANCE_URL && CONFORMANCE_SERVICE_KEY) {
    project.provide('conformance', { url: CONFORMANCE_URL, key: CONFORMANCE_SERVICE_KEY });
    return undefined;
  }
  const args =
    process.env.STACK === 'postgres' ? [POSTGRES] : [EMBEDDED, '--memory', '--port', '0', '--json'];
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  const stack = JSON.parse(line) as StackSettings;
  project.provide('stack', stack);
  project.provide('conformance', { url: stack.SUPABASE_URL, key: stack.SUPABASE_SERVICE_KEY });
  return async () => {
    child.kill('SIGTERM');
    await once(child, 'exit');
  };
}
