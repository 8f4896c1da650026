/**
 * How fast an empty host gets what the cloud has, beside a loop that gets the same archives from the same server, as
 * many at once, writes them and compares each file with its hash: no fsync, no catalog. And how long a host takes
 * that follows 100 000 deletions from the first on.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { createClient } from '@supabase/supabase-js';
import { isComplete, parseManifest } from '../../node-agent/contract.ts';
import { openStorage, readConfig } from '../../node-agent/index.ts';
import { readSources } from './corpus.ts';
import { runProgram, startHost } from './host.ts';
import { alternate, atLeast, atMost, type Measured, ratios, told } from './measure.ts';

const GENERATIONS = 100;
const ROUNDS = 7;
const CHANGES = 100_000;
const AT_ONCE = 2000;

type Times = { agent: number[]; bare: number[]; changesMs: number };

export async function restore(): Promise<Measured[]> {
  const host = await startHost();
  try {
    const times = await runProgram<Times>(import.meta.filename, [], host.env);
    const { agent, bare, changesMs } = times;
    return [
      atLeast('restore: times the rate of bare, checked GETs', ratios(bare, agent), '×', 0.8),
      told(
        'restore: generations a second',
        ratios(
          agent.map(() => GENERATIONS * 1000),
          agent,
        ),
        '/s',
      ),
      atMost('100 000 changes, followed from the first on', changesMs / 1000, 's', 20),
    ];
  } finally {
    await host.close();
  }
}

const unzip = promisify(gunzip);

/** Compares every file of an archive with the hash that its manifest has of it. */
async function check(archive: Buffer): Promise<void> {
  const tar = await unzip(archive);
  const hashes = new Map<string, string>();
  for (let at = 0; at < tar.length && tar[at] !== 0; ) {
    const name = tar.toString('utf8', at, tar.indexOf(0, at));
    const size = Number.parseInt(tar.toString('latin1', at + 124, at + 135), 8);
    const content = tar.subarray(at + 512, at + 512 + size);
    if (at === 0) {
      const manifest = parseManifest(content.toString(), name);
      if (!isComplete(manifest)) throw new Error('The manifest has no hashes');
      for (const { path, sha256 } of manifest.entries) hashes.set(path, sha256);
    } else if (hashes.get(name) !== createHash('sha256').update(content).digest('hex')) {
      throw new Error(`"${name}" is not what it was`);
    }
    at += 512 + 512 * Math.ceil(size / 512);
  }
}

if (import.meta.main) {
  const config = readConfig(process.env);
  const { url, key, bucket } = config.cloud!;
  const client = createClient(url, key, { auth: { persistSession: false } });
  const projectId = 'restored';
  const files = readSources(61);
  const source = await openStorage(config);
  for (let i = 0; i < GENERATIONS; i++) {
    await source.save({ projectId, files: { ...files, 'n.txt': `${i}` } });
  }
  while ((await source.status()).outbox.owed > 0) await source.drain(60_000);
  await source.close();
  const folder = mkdtempSync(join(config.storePath, '..', 'restore-'));
  let n = 0;
  const concurrency = config.uploadConcurrency;
  const times = await alternate(
    {
      agent: async () => {
        const storePath = join(folder, String(n++));
        mkdirSync(storePath);
        const storage = await openStorage({ ...config, storePath, background: false });
        const began = performance.now();
        const { restored } = await storage.restore({ projectId, concurrency });
        const ms = performance.now() - began;
        if (restored !== GENERATIONS) throw new Error(`${restored} came`);
        await storage.close();
        return ms;
      },
      bare: async () => {
        const path = join(folder, String(n++));
        mkdirSync(path);
        const began = performance.now();
        const { data } = await client
          .from('storage_generations')
          .select('object_key, sha256')
          .eq('project_id', projectId);
        const queue = [...data!.entries()];
        const lane = async () => {
          for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
            const [index, { object_key, sha256 }] = next;
            const target = `${url}/storage/v1/object/${bucket}/${object_key}`;
            const answer = await fetch(target, { headers: { authorization: `Bearer ${key}` } });
            const archive = Buffer.from(await answer.arrayBuffer());
            const found = createHash('sha256').update(archive).digest('hex');
            if (found !== sha256) throw new Error('It is not what was recorded');
            await check(archive);
            writeFileSync(join(path, `${index}.tar.gz`), archive);
          }
        };
        await Promise.all(Array.from({ length: concurrency }, lane));
        return performance.now() - began;
      },
    },
    { rounds: ROUNDS, warmUp: 2 },
  );
  console.error('changes …');
  const changesMs = await follow();
  rmSync(folder, { recursive: true });
  console.log(JSON.stringify({ ...times, changesMs } satisfies Times));

  /** What a host takes that was never there before. */
  async function follow(): Promise<number> {
    await client.from('storage_projects').insert({ id: 'changed' });
    const deletedAt = new Date().toISOString();
    for (let from = 1; from <= CHANGES; from += AT_ONCE) {
      const rows = Array.from({ length: AT_ONCE }, (_, i) => ({
        ...{ project_id: 'changed', version: from + i, generation_id: `g${from + i}`, bucket },
        ...{ object_key: `changed/${from + i}`, status: 'deleted', deleted_at: deletedAt },
      }));
      const { error } = await client.from('storage_generations').insert(rows);
      if (error !== null) throw error;
    }
    const storePath = join(folder, 'follows');
    mkdirSync(storePath);
    const storage = await openStorage({ ...config, storePath, background: false });
    const began = performance.now();
    await storage.learnChanges();
    const ms = performance.now() - began;
    await storage.close();
    return ms;
  }
}
