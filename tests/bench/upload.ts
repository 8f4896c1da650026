/**
 * How fast generations get to the cloud, beside a loop that puts the same archives and writes a row
 * for each, to the same server and as many at once: no look whether they arrived, no retry.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createClient } from '@supabase/supabase-js';
import { openStorage, readConfig, type Storage } from '../../node-agent/index.ts';
import { readSources } from './corpus.ts';
import { runProgram, startHost } from './host.ts';
import { alternate, atLeast, atMost, type Measured, ratios, told } from './measure.ts';

const GENERATIONS = 100;
const ROUNDS = 7;

type Times = {
  agent: number[];
  byHostKey: number[];
  bare: number[];
  requests: number;
  requestsByHostKey: number;
};

export async function upload(): Promise<Measured[]> {
  const host = await startHost();
  try {
    const times = await runProgram<Times>(import.meta.filename, [], host.env);
    const { agent, byHostKey, bare, requests, requestsByHostKey } = times;
    return [
      atLeast(`upload: times the rate of bare PUTs and row writes`, ratios(bare, agent), '×', 0.9),
      told('upload: requests a generation (2 of a bare loop)', requests, ''),
      atLeast('upload: by the key of a host, times the rate', ratios(agent, byHostKey), '×', 0.7),
      atMost(
        'upload: by the key of a host, requests a generation beside the PUT',
        [requestsByHostKey - 1],
        '',
        1.3,
      ),
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
  const operator = await openStorage(config);
  const rights = { read: 'own', delete: 'own', projects: [], expiresAt: null } as const;
  const hostKey = await operator.hosts.add('bench', rights);
  await operator.close();
  // Each has a store of its own: what the one saved is not the other's.
  const byKey = {
    ...config,
    storePath: `${config.storePath}-of-host`,
    cloud: { url, key: hostKey, bucket },
  };
  const away = await openStorage({ ...config, cloud: null });
  const awayOfHost = await openStorage({ ...byKey, cloud: null });
  let n = 0;
  /** Saves that are not uploaded yet, and of which nothing else is left to do. */
  const prepare = async (away: Storage) => {
    const projectId = `p${n++}`;
    const saves = Array.from({ length: GENERATIONS }, (_, i) =>
      away.save({ projectId, files: { ...files, 'n.txt': `${n} ${i}` } }),
    );
    const receipts = await Promise.all(saves);
    for (const receipt of receipts) await away.archive(receipt);
    return receipts;
  };
  const counted = { agent: 0, byHostKey: 0 };
  const uploadBy = (who: keyof typeof counted, of: typeof config, saver: Storage) => async () => {
    await prepare(saver);
    const before = requests;
    const began = performance.now();
    const storage = await openStorage(of);
    while ((await storage.status()).outbox.owed > 0) await storage.drain(60_000);
    const ms = performance.now() - began;
    counted[who] = (requests - before) / GENERATIONS;
    await storage.close();
    return ms;
  };
  const times = await alternate(
    {
      agent: uploadBy('agent', config, away),
      byHostKey: uploadBy('byHostKey', byKey, awayOfHost),
      bare: async () => {
        const receipts = await prepare(away);
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
  await awayOfHost.close();
  console.log(
    JSON.stringify({
      ...times,
      requests: counted.agent,
      requestsByHostKey: counted.byHostKey,
    } satisfies Times),
  );
}
