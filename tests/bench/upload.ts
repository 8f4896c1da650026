/**
 * How fast generations get to the cloud, beside a loop that puts the same archives and writes a row
 * for each, to the same server and as many at once: no look whether they arrived, no retry.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createClient } from '@supabase/supabase-js';
import { openStorage, readConfig } from '../../node-agent/index.ts';
import { readSources } from './corpus.ts';
import { runProgram, startHost } from './host.ts';
import { alternate, atLeast, type Measured, ratios, told } from './measure.ts';

const GENERATIONS = 100;
const ROUNDS = 7;

type Times = { agent: number[]; bare: number[]; requests: number };

export async function upload(): Promise<Measured[]> {
  const host = await startHost();
  try {
    const { agent, bare, requests } = await runProgram<Times>(import.meta.filename, [], host.env);
    return [
      atLeast(`upload: times the rate of bare PUTs and row writes`, ratios(bare, agent), '×', 0.9),
      told('upload: requests a generation (2 of a bare loop)', requests, ''),
    ];
  } finally {
    await host.close();
  }
}

if (import.meta.main) {
  const config = readConfig(process.env);
  const { url, key, bucket } = config.cloud!;
  let requests = 0;
  const send = globalThis.fetch;
  globalThis.fetch = (...given) => {
    requests++;
    return send(...given);
  };
  const client = createClient(url, key, { auth: { persistSession: false } });
  await client.storage.createBucket(bucket, { public: false });
  const files = readSources(61);
  const away = await openStorage({ ...config, cloud: null });
  let n = 0;
  /** Saves that are not uploaded yet, and of which nothing else is left to do. */
  const prepare = async () => {
    const projectId = `p${n++}`;
    const saves = Array.from({ length: GENERATIONS }, (_, i) =>
      away.save({ projectId, files: { ...files, 'n.txt': `${n} ${i}` } }),
    );
    const receipts = await Promise.all(saves);
    return receipts;
  };
  let counted = 0;
  const times = await alternate(
    {
      agent: async () => {
        await prepare();
        const before = requests;
        const began = performance.now();
        const storage = await openStorage(config);
        while ((await storage.status()).outbox.owed > 0) await storage.drain(60_000);
        const ms = performance.now() - began;
        counted = (requests - before) / GENERATIONS;
        await storage.close();
        return ms;
      },
      bare: async () => {
        const receipts = await prepare();
        const archives = receipts.map(({ path }) => readFileSync(join(path, 'archive.tar.gz')));
        const projectId = `bare-${n}`;
        await client.from('storage_projects').insert({ id: projectId });
        const began = performance.now();
        const queue = [...receipts.entries()];
        const lane = async () => {
          for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
            const [index, { version, generationId }] = next;
            const object_key = `${projectId}/${version}.tar.gz`;
            const options = { contentType: 'application/gzip' };
            const put = await client.storage
              .from(bucket)
              .upload(object_key, archives[index]!, options);
            const written = await client.from('storage_generations').insert({
              ...{ project_id: projectId, version, generation_id: generationId },
              ...{ bucket, object_key, status: 'uploaded' },
            });
            if (put.error ?? written.error) throw put.error ?? written.error;
          }
        };
        await Promise.all(Array.from({ length: config.uploadConcurrency }, lane));
        const ms = performance.now() - began;
        // What it left owed goes to nobody's account.
        for (const receipt of receipts) await away.delete(receipt);
        const storage = await openStorage(config);
        while ((await storage.status()).outbox.owed > 0) await storage.drain(60_000);
        await storage.close();
        return ms;
      },
    },
    { rounds: ROUNDS, warmUp: 2 },
  );
  await away.close();
  console.log(JSON.stringify({ ...times, requests: counted } satisfies Times));
}
