import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export type Ran = { code: number | null; stdout: string; stderr: string };

/** Names the folder of what was built of the agent, and of the programs of tests. */
export const BUILT_AGENT = 'BUILT_AGENT';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Runs a program to its end. */
export async function run(
  command: string,
  args: readonly string[],
  options: {
    cwd?: string;
    env?: Record<string, string | undefined>;
    input?: Buffer;
    uid?: number;
  } = {},
): Promise<Ran> {
  const child = spawn(command, args, {
    cwd: options.cwd ?? ROOT,
    env: { ...process.env, ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
  });
  child.stdin.end(options.input);
  const output = collect(child);
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, ...output() };
}

/** Gathers what a process prints. */
export function collect(child: ChildProcess): () => { stdout: string; stderr: string } {
  const chunks = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  child.stdout?.on('data', (chunk: Buffer) => chunks.stdout.push(chunk));
  child.stderr?.on('data', (chunk: Buffer) => chunks.stderr.push(chunk));
  return () => ({
    stdout: Buffer.concat(chunks.stdout).toString(),
    stderr: Buffer.concat(chunks.stderr).toString(),
  });
}

/** A program that was built for this run, by the path of its source, for example `node-agent/bin`. */
export function builtProgram(name: string): string {
  return join(process.env[BUILT_AGENT]!, `${name}.js`);
}

/** Runs `codebegen-storage`, as it is published. */
export function runCli(
  args: readonly string[],
  env: Record<string, string | undefined> = {},
  cwd?: string,
): Promise<Ran> {
  return run(process.execPath, [builtProgram('node-agent/bin'), ...args], {
    env: { USE_CLOUD_STORAGE: undefined, ...env },
    ...(cwd === undefined ? {} : { cwd }),
  });
}
