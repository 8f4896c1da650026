import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { TestProject } from 'vitest/node';
import { buildAgent } from './built-agent.ts';
import { postgresVersion } from './postgres-server.ts';
import { BUILT_AGENT, ROOT } from './run.ts';

/** How tests reach the one stack that they share. */
export type StackSettings = {
  SUPABASE_URL: string;
  SUPABASE_ANON_KEY: string;
  SUPABASE_PUBLISHABLE_KEY: string;
  SUPABASE_SERVICE_KEY: string;
  SUPABASE_SECRET_KEY: string;
  JWT_SECRET: string;
};

/** Of the keys one is there at least. */
export type Conformance = {
  url: string;
  key: string | null;
  hostKey: string | null;
  /** That of the host. */
  bucket: string;
};

declare module 'vitest' {
  interface ProvidedContext {
    stack: StackSettings;
    /** What the conformance suite runs against. */
    conformance: Conformance;
  }
}

const EMBEDDED = fileURLToPath(new URL('../../supabase/embedded/main.ts', import.meta.url));
const POSTGRES = fileURLToPath(new URL('./postgres-stack.ts', import.meta.url));

/**
 * Starts one stack for all tests: each makes its own users, projects and buckets. `STACK=postgres` is
 * one on a real PostgreSQL. For the conformance suite alone, against a real Supabase, nothing is started.
 */
export async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  process.env[BUILT_AGENT] = await buildAgent();
  const { CONFORMANCE_URL, CONFORMANCE_SERVICE_KEY, CONFORMANCE_HOST_KEY } = process.env;
  const bucket = process.env.CONFORMANCE_BUCKET || 'codebegen-projects';
  if (CONFORMANCE_URL) {
    project.provide('conformance', {
      url: CONFORMANCE_URL,
      key: CONFORMANCE_SERVICE_KEY || null,
      hostKey: CONFORMANCE_HOST_KEY || null,
      bucket,
    });
    return undefined;
  }
  if (postgresVersion === null) {
    console.error('There is no PostgreSQL with pgTAP here: what is tested on it is skipped');
  }
  const args =
    process.env.STACK === 'postgres' ? [POSTGRES] : [EMBEDDED, '--memory', '--port', '0', '--json'];
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines = createInterface(child.stdout);
  const [line] = (await Promise.race([
    once(lines, 'line'),
    once(child, 'exit').then(() => Promise.reject(new Error('The stack ended at once'))),
  ])) as [string];
  let last = line;
  lines.on('line', (next) => {
    last = next;
  });
  const stack = JSON.parse(line) as StackSettings;
  project.provide('stack', stack);
  project.provide('conformance', {
    url: stack.SUPABASE_URL,
    key: stack.SUPABASE_SERVICE_KEY,
    hostKey: null,
    bucket,
  });
  return async () => {
    const ended = once(child, 'close');
    child.kill('SIGTERM');
    await ended;
    if (process.env.STACK_CALLS === 'all') expectAllCalled(JSON.parse(last) as string[]);
  };
}

/** Every SQL function that the agent and the Edge Function call was called, through PostgREST. */
function expectAllCalled(called: readonly string[]): void {
  const named = [
    'node-agent/cloud',
    'functions/_shared',
    'functions/generations',
    'functions/hosts',
  ]
    .flatMap((folder) => readdirSync(join(ROOT, folder)).map((name) => join(ROOT, folder, name)))
    .filter((file) => file.endsWith('.ts'))
    .flatMap((file) => readFileSync(file, 'utf8').match(/(?<=')storage_[a-z_]+(?=')/g) ?? []);
  // A table is read by its name, too.
  const missing = [...new Set(named)].filter(
    (name) => name !== 'storage_generations' && !called.includes(name),
  );
  if (missing.length > 0) throw new Error(`Never called through PostgREST: ${missing.join(', ')}`);
}
