/**
 * What a call of the function costs: the requests that it makes, its time beside that of the calls
 * of REST and of storage that a program could make itself, and the CPU of the Deno process, so of
 * its HTTP and its JSON too, but not of the database and of storage.
 */
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import { DEFAULT_BUCKET } from '../../node-agent/contract.ts';
import { openStorage, readConfig } from '../../node-agent/index.ts';
import { type Functions, startFunctions } from '../../supabase/embedded/functions.ts';
import { openFaultProxy } from '../support/fault-proxy.ts';
import { ROOT } from '../support/run.ts';
import { waitForStatus } from '../support/storage.ts';
import { type Host, startHost } from './host.ts';
import { alternate, atMost, type Measured, ratios, told } from './measure.ts';

/** Clock ticks a second in `/proc`: the same on every Linux. */
const TICKS = 100;
const PROJECT = 'bench';
const LISTED = 60;

export async function edge(): Promise<Measured[]> {
  const host = await startHost();
  const { settings } = host;
  const userId = randomUUID();
  const proxy = await openFaultProxy(settings.SUPABASE_URL!);
  const start = (url: string) =>
    startFunctions({
      SUPABASE_URL: url,
      SUPABASE_ANON_KEY: settings.SUPABASE_ANON_KEY!,
      SUPABASE_SERVICE_ROLE_KEY: settings.SUPABASE_SERVICE_KEY!,
      JWT_SECRET: settings.JWT_SECRET!,
    });
  const functions = await start(settings.SUPABASE_URL!);
  const counted = await start(proxy.url);
  try {
    const { paths, key } = await saveGenerations(host, userId);
    const authorization = `Bearer ${await signToken(settings.JWT_SECRET!, userId)}`;
    const ask = async (url: string, method: string, body?: object) => {
      const answer = await fetch(url, {
        method,
        headers: {
          authorization,
          apikey: settings.SUPABASE_ANON_KEY!,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      if (!answer.ok) throw new Error(`${method} ${url}: ${answer.status}`);
      await answer.arrayBuffer();
    };
    const callOf = ({ origin }: Functions, [method, path]: Call) =>
      ask(`${origin}/generations/projects/${PROJECT}${path}`, method);
    const file = (i = 0): Call => ['GET', `/2/files/${paths[(i * 7) % paths.length]}`];

    const count = async (what: string, call: Call, expected: string[]) => {
      // The first call of a process may ask for what it keeps.
      await callOf(counted, call);
      proxy.seen.length = 0;
      await callOf(counted, call);
      const seen = proxy.seen.map((line) => /\/(rest|storage)\/v1\//.exec(line)?.[1] ?? line);
      const others = seen.toSorted().join() === expected.toSorted().join() ? 0 : seen.length;
      return atMost(`edge: ${what}, requests beyond ${expected.join(' and ')}`, others, '', 0);
    };
    const rest = (name: string, args: object) =>
      ask(`${settings.SUPABASE_URL}/rest/v1/rpc/${name}`, 'POST', args);
    const sign = `${settings.SUPABASE_URL}/storage/v1/object/sign/${key}`;
    const times = await alternate(
      {
        list: () => callOf(functions, LIST),
        query: () => rest('storage_list_generations', { p_project_id: PROJECT, p_limit: 51 }),
        download: () => callOf(functions, DOWNLOAD),
        queryAndSign: async () => {
          await rest('storage_get_generation', { p_project_id: PROJECT, p_version: 1 });
          await ask(sign, 'POST', { expiresIn: 3600 });
        },
      },
      { rounds: 200 },
    );
    const cpu = async (what: string, times: number, limit: number, call: (i: number) => Call) => {
      for (let i = 0; i < times / 4; i++) await callOf(functions, call(i));
      const before = readCpuMs(functions.pid);
      for (let i = 0; i < times; i++) await callOf(functions, call(i));
      const ms = (readCpuMs(functions.pid) - before) / times;
      return atMost(`edge: CPU of ${what}`, ms, 'ms', limit);
    };
    return [
      await count('a list page', LIST, ['rest']),
      await count('a signed URL', DOWNLOAD, ['rest', 'storage']),
      await count('one file', file(), ['rest', 'storage']),
      told('edge: a list page, times the same query by REST', ratios(times.list, times.query), '×'),
      told(
        'edge: a signed URL, times a query and a signature',
        ratios(times.download, times.queryAndSign),
        '×',
      ),
      await cpu('a list page', 400, 5, () => LIST),
      await cpu('a signed URL', 400, 5, () => DOWNLOAD),
      await cpu('one file', 400, 10, file),
      await cpu('a zip of 1 MB', 40, 150, () => ['GET', '/1/archive.zip']),
    ];
  } finally {
    await functions.close();
    await counted.close();
    proxy.close();
    await host.close();
  }
}

type Call = readonly [method: string, path: string];
const LIST: Call = ['GET', ''];
const DOWNLOAD: Call = ['POST', '/1/download'];

/** Version 1 is 1 MB of real code, version 2 some 20 MB; the rest makes the list long. */
async function saveGenerations(
  { env }: Host,
  ownerId: string,
): Promise<{ paths: string[]; key: string }> {
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
  const { objectKey } = await storage.show(saved[0]!);
  await storage.close();
  return { paths: Object.keys(large), key: `${DEFAULT_BUCKET}/${objectKey}` };
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
