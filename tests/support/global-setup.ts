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
  }
}

const MAIN = fileURLToPath(new URL('../../supabase/embedded/main.ts', import.meta.url));

/** Starts one embedded stack for all tests: each makes its own users, projects and buckets. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const child = spawn(process.execPath, [MAIN, '--memory', '--port', '0', '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  project.provide('stack', JSON.parse(line) as StackSettings);
  return async () => {
    child.kill('SIGTERM');
    await once(child, 'exit');
  };
}
