/** Replicas for tests: by the S3 protocol, and in another bucket of the shared stack. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, inject, onTestFinished } from 'vitest';
import type { Storage } from '../../node-agent/index.ts';
import type { ReplicaInput } from '../../node-agent/replicas/replica.ts';
import { serviceClient, uniqueId } from './cloud.ts';
import { type FakeS3, startFakeS3 } from './fake-s3.ts';
import { tempFolder } from './temp.ts';
import { until } from './two-hosts.ts';

/** A name that no other test uses: the database knows it. */
export const newName = () => uniqueId('far').toLowerCase();

async function keyFile(text: string): Promise<string> {
  const file = join(await tempFolder(), 'replica.key');
  await writeFile(file, `${text}\n`, { mode: 0o600 });
  return file;
}

export async function s3Replica(): Promise<{ input: ReplicaInput; fake: FakeS3 }> {
  const fake = await startFakeS3();
  onTestFinished(() => fake.close());
  fake.buckets.set('copies', new Map());
  const named = { name: newName(), kind: 's3', url: fake.url, region: fake.region } as const;
  const key = { keyId: fake.keyId, keyFile: await keyFile(fake.secret) };
  return { input: { ...named, bucket: 'copies', ...key }, fake };
}

/** The bucket that the documents name, and what is to stand in its place. @param folder where its key is put */
export async function documentedReplica(folder: string) {
  const fake = await startFakeS3('eu-west-1');
  onTestFinished(() => fake.close());
  fake.buckets.set('acme-copies', new Map());
  await writeFile(join(folder, 'far.key'), fake.secret);
  const name = newName();
  const replaced = {
    'https://s3.eu-west-1.amazonaws.com': fake.url,
    AKIAEXAMPLE: fake.keyId,
    '--key-file far.key': `--key-file ${join(folder, 'far.key')}`,
    // The tests share a database, which knows replicas by name.
    ' add far ': ` add ${name} `,
    ' sync far': ` sync ${name}`,
    ' remove far': ` remove ${name}`,
    '--replica far': `--replica ${name}`,
    '--from far': `--from ${name}`,
  };
  return { fake, name, replaced };
}

export async function supabaseReplica(): Promise<{ input: ReplicaInput }> {
  const bucket = uniqueId('copies');
  await serviceClient().storage.createBucket(bucket, { public: false });
  const { SUPABASE_URL: url, SUPABASE_SECRET_KEY: secret } = inject('stack');
  const file = await keyFile(secret);
  return {
    input: { name: newName(), kind: 'supabase', url, region: 'x', bucket, keyFile: file },
  };
}

/** Keys of what lies in a replica, without what was there to try it. */
export async function keysIn(storage: Storage, name: string): Promise<string[]> {
  const objects = await storage.replicas.open(name);
  const keys: string[] = [];
  for await (const projectId of objects.listProjects(null)) {
    for await (const { key } of objects.listArchives(projectId)) keys.push(key);
  }
  return keys.sort();
}

export async function statusOf(storage: Storage, name: string) {
  return (await storage.replicas.list()).find((one) => one.name === name)!.copies!;
}

/** Waits until nothing is owed to a replica. */
export async function even(storage: Storage, name: string): Promise<void> {
  await until(async () => {
    const { owed, unneeded } = await statusOf(storage, name);
    return owed + unneeded === 0;
  });
}

/** What is kept of a project is over. */
export async function makeDue(projectId: string): Promise<void> {
  const service = serviceClient();
  const due = { purge_at: new Date(Date.now() - 1000).toISOString() };
  for (const table of ['storage_generations', 'storage_archives']) {
    const rows = service.from(table).update(due).eq('project_id', projectId);
    expect((await rows.not('purge_at', 'is', null)).error).toBeNull();
  }
}
