/**
 * CPU that the function takes for a request: that of the Deno process, so of its HTTP and its
 * JSON too, but not that of the database and of storage.
 */
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import { openStorage, readConfig } from '../../node-agent/index.ts';
import { startFunctions } from '../../supabase/embedded/functions.ts';
import { ROOT } from '../support/run.ts';
import { waitForStatus } from '../support/storage.ts';
import { type Host, startHost } from './host.ts';
import { atMost, type Measured } from './measure.ts';

/** Clock ticks a second in `/proc`: the same on every Linux. */
const TICKS = 100;
const PROJECT = 'bench';
const LISTED = 60;

export async function edge(): Promise<Measured[]> {
  const host = await startHost();
  const { settings } = host;
  const userId = randomUUID();
  const functions = await startFunctions({
    SUPABASE_URL: settings.SUPABASE_URL!,
    SUPABASE_ANON_KEY: settings.SUPABASE_ANON_KEY!,
    SUPABASE_SERVICE_ROLE_KEY: settings.SUPABASE_SERVICE_KEY!,
    JWT_SECRET: settings.JWT_SECRET!,
  });
  try {
    const paths = await saveGenerations(host, userId);
    const token = await signToken(settings.JWT_SECRET!, userId);
    const call = async (method: string, path: string) => {
      const answer = await fetch(`${functions.origin}/generations/projects/${PROJECT}${path}`, {
        method,
        headers: { authorization: `Bearer ${token}` },
      });
      if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status}`);
      await answer.arrayBuffer();
    };
    const measure = async (times: number, run: (i: number) => Promise<void>) => {
      for (let i = 0; i < times / 4; i++) await run(i);
      const before = readCpuMs(functions.pid);
      for (let i = 0; i < times; i++) await run(i);
      return (readCpuMs(functions.pid) - before) / times;
    };
    const file = (i: number) => `/2/files/${paths[(i * 7) % paths.length]}`;
    return [
      atMost('edge: CPU of a list page', await measure(400, () => call('GET', '')), 'ms', 5),
      atMost(
        'edge: CPU of a signed URL',
        await measure(400, () => call('POST', '/1/download')),
        'ms',
        5,
      ),
      atMost('edge: CPU of one file', await measure(400, (i) => call('GET', file(i))), 'ms', 10),
      atMost(
        'edge: CPU of a zip of 1 MB',
        await measure(40, () => call('GET', '/1/archive.zip')),
        'ms',
        150,
      ),
    ];
  } finally {
    await functions.close();
    await host.close();
  }
}

/** Version 1 is 1 MB of real code, version 2 some 20 MB; the rest makes the list long. */
async function saveGenerations({ env }: Host, ownerId: string): Promise<string[]> {
  const storage = await openStorage(readConfig(env));
  const small = readCode('hono/dist', 1e6);
  const large = readCode('', 20e6);
  const saved = [
    await storage.save({ projectId: PROJECT, ownerId, files: small }),
    await storage.save({ projectId: PROJECT, ownerId, files: large }),
  ];
  for (let i = 0; i < LISTED; i++) {
    saved.push(await storage.save({ projectId: PROJECT, ownerId, files: { a: String(i) } }));
  }
  for (const receipt of saved) await waitForStatus(storage, receipt, 'verified');
  await storage.close();
  return Object.keys(large);
}

/** Files of the packages here, so many bytes of them. */
function readCode(folder: string, bytes: number): Record<string, Buffer> {
  const root = join(ROOT, 'node_modules', folder);
  const files: Record<string, Buffer> = {};
  let left = bytes;
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !/\.(ts|js|json|md)$/.test(entry.name)) continue;
    const path = join(entry.parentPath, entry.name);
    const content = readFileSync(path);
    if (content.length > Math.min(left, 500_000)) continue;
    // A flat name: packages hold names that differ only in case.
    files[`f${Object.keys(files).length}${entry.name.slice(entry.name.lastIndexOf('.'))}`] =
      content;
    left -= content.length;
    if (left < 1000) break;
  }
  return files;
}

function readCpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // After the name in brackets, which may hold anything: utime and stime are fields 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[11]) + Number(fields[12])) / TICKS) * 1000;
}

function signToken(secret: string, sub: string): Promise<string> {
  return new SignJWT({ role: 'authenticated' })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(sub)
    .setAudience('authenticated')
    .setExpirationTime('1h')
    .sign(new TextEncoder().encode(secret));
}
