/** Runs one scenario in one order, lets everything come to its end, and checks what is left. */
import { randomUUID } from 'node:crypto';
import { BUCKET, CLOUD_URL, type Cloud, OWNER } from './cloud.ts';
import { Host } from './host.ts';
import type { Content, Scenario, Step } from './scenarios.ts';
import { type Deviation, type Fault, Schedule } from './schedule.ts';

const FILES: Record<Content, Record<string, string>> = {
  X: { 'a.txt': 'x' },
  Y: { 'a.txt': 'y', 'b.txt': 'y' },
  Z: { 'a.txt': 'z' },
};
const FAULTS: readonly Fault[] = ['lost', 'late', 'crash', 'late-crash'];
/** After so many rounds in which somebody had something to do, it does not end. */
const MAX_ROUNDS = 12;

export type Outcome = Readonly<{
  /** What is wrong, a sentence each. */
  problems: string[];
  trace: readonly string[];
  /** Of each step, how many alternatives it had. */
  widths: readonly number[];
}>;

/** What a host was told that it did, last. */
type Acknowledged = { digest: string | null; deleted: boolean };

export async function explore(
  cloud: Cloud,
  scenario: Scenario,
  deviations: readonly Deviation[],
): Promise<Outcome> {
  await cloud.clear();
  const ref = { projectId: `p-${randomUUID()}`, version: 1, generationId: 'g' };
  const hosts = new Map<string, Host>();
  const schedule: Schedule = new Schedule(deviations, FAULTS, async (name) => {
    await hosts.get(name)?.crash();
  });
  for (const name of ['a', 'b']) {
    hosts.set(name, await Host.start(name, cloud, () => schedule));
  }
  const acknowledged = new Map<string, Acknowledged>();
  let deletedByUser = false;

  async function act(host: Host, step: Step): Promise<void> {
    host.passTime();
    const { storage } = host;
    switch (step.do) {
      case 'save':
      case 'replace': {
        const saved = await storage.save({
          ...ref,
          ownerId: OWNER,
          files: FILES[step.content],
          replace: step.do === 'replace',
        });
        acknowledged.set(host.name, { digest: saved.digest, deleted: false });
        return;
      }
      case 'delete':
        await storage.delete(ref);
        acknowledged.set(host.name, { digest: null, deleted: true });
        return;
      case 'undelete': {
        const { undeleted } = await storage.undelete(ref);
        const { digest } = await storage.show(ref);
        acknowledged.set(host.name, { digest, deleted: false });
        if (undeleted) deletedByUser = false;
        return;
      }
      case 'sync':
        return storage.drain();
      case 'evict':
        await storage.cleanupStore({ olderThanMs: 1 });
        return;
      case 'learn':
        await storage.learnChanges();
        return;
      case 'get': {
        await storage.get(ref);
        return;
      }
    }
  }

  for (const [name, steps] of Object.entries(scenario.actors)) {
    if (steps.length === 0) continue;
    if (name === 'web') {
      schedule.add('web', 'web', async () => {
        for (const [i, step] of steps.entries()) {
          if (i > 0) await schedule.begin(step.do);
          if (step.do === 'delete') {
            await deleteAsUser(cloud, schedule, ref, () => {
              deletedByUser = true;
            });
          } else {
            // Also where the answer is lost.
            deletedByUser = false;
            await undeleteAsUser(cloud, schedule, ref);
          }
        }
      });
      continue;
    }
    const host = hosts.get(name[0]!)!;
    schedule.add(name, host.name, async () => {
      for (const [i, step] of steps.entries()) {
        if (i > 0) await schedule.begin(step.do);
        // One that fails, or that a crash ends, is not tried again.
        await act(host, step).catch(() => {});
      }
    });
  }
  const problems: string[] = [];
  try {
    await schedule.run();
    problems.push(...(await settle(cloud, hosts, ref)));
    problems.push(...(await check(cloud, hosts, ref, acknowledged, deletedByUser)));
  } finally {
    for (const host of hosts.values()) await host.close();
  }
  return { problems, trace: schedule.trace, widths: schedule.widths };
}

type Ref = { projectId: string; version: number; generationId: string };

function caller(cloud: Cloud, schedule: Schedule) {
  return (token: string, method: string, path: string, body: object) =>
    schedule.send(`${method} ${path}`, () =>
      cloud.send(
        new Request(`${CLOUD_URL}/${path}`, {
          method,
          headers: {
            apikey: cloud.serviceKey,
            authorization: `Bearer ${token}`,
            'content-type': 'application/json',
          },
          body: JSON.stringify(body),
        }),
      ),
    );
}

async function undeleteAsUser(cloud: Cloud, schedule: Schedule, ref: Ref): Promise<void> {
  const path = 'rest/v1/rpc/storage_undelete_generation';
  await caller(cloud, schedule)(cloud.userToken, 'POST', path, {
    p_project_id: ref.projectId,
    p_version: ref.version,
  });
}

/** As the Edge Function does it: a tombstone, the objects, a note that they are gone. */
async function deleteAsUser(
  cloud: Cloud,
  schedule: Schedule,
  ref: Ref,
  deleted: () => void,
): Promise<void> {
  const call = caller(cloud, schedule);
  const answer = await call(cloud.userToken, 'POST', 'rest/v1/rpc/storage_delete_generation', {
    p_project_id: ref.projectId,
    p_version: ref.version,
  });
  const target = (await answer.json()) as { objects: { object_key: string }[] } | null;
  if (target === null) return;
  deleted();
  const prefixes = target.objects.map(({ object_key }) => object_key);
  await call(cloud.serviceKey, 'DELETE', `storage/v1/object/${BUCKET}`, { prefixes });
  await call(cloud.serviceKey, 'POST', 'rest/v1/rpc/storage_record_removals', {
    p_objects: target.objects,
  });
}

/** Lets everybody do what is still to be done, until nobody has anything. */
async function settle(cloud: Cloud, hosts: Map<string, Host>, ref: Ref): Promise<string[]> {
  // Who was asked first hears in the next round what the last one did.
  for (let round = 0, quiet = 0; round < MAX_ROUNDS; round++) {
    let busy = 0;
    for (const host of hosts.values()) {
      host.passTime();
      busy += await host.storage.learnChanges();
      await host.storage.drain();
      busy += (await host.storage.status()).outbox.owed;
    }
    await cloud.passTime(ref.projectId);
    busy += await hosts.get('a')!.storage.removeUnneeded();
    quiet = busy === 0 ? quiet + 1 : 0;
    if (quiet === 2) return [];
  }
  const owed = await Promise.all(
    [...hosts.values()].map(async ({ name, storage }) => {
      const { items } = await storage.uploads();
      return `${name} owes ${JSON.stringify(items)}`;
    }),
  );
  return [`it does not end: ${owed.join('; ')}`];
}

async function check(
  cloud: Cloud,
  hosts: Map<string, Host>,
  ref: Ref,
  acknowledged: Map<string, Acknowledged>,
  deletedByUser: boolean,
): Promise<string[]> {
  const problems: string[] = [];
  const rows = await cloud.rows(ref.projectId);
  const objects = await cloud.objects(ref.projectId);
  const [row] = rows;
  const isThere = row !== undefined && ['uploaded', 'verified'].includes(row.status);

  // No row without an object, no object without a row; what can be undone counts.
  const named = [...(isThere ? [row.object_key] : []), ...(await cloud.kept(ref.projectId))];
  const names = objects.map(({ name }) => name);
  for (const name of names) if (!named.includes(name)) problems.push(`${name} is named by no row`);
  for (const name of named)
    if (!names.includes(name)) problems.push(`${name} is not in the bucket`);
  if (row !== undefined && !isThere && row.status !== 'deleted') {
    const given = [...hosts.values()].some((host) => host.wasTold(1));
    if (!given) problems.push(`the row stays ${row.status}`);
  }
  if (deletedByUser && row?.status !== 'deleted') problems.push(`deleted, and ${row?.status}`);

  for (const host of hosts.values()) {
    problems.push(...(await checkHost(host, ref, isThere ? row.digest : null, acknowledged)));
  }
  return problems;
}

async function checkHost(
  host: Host,
  ref: Ref,
  inCloud: string | null,
  acknowledged: Map<string, Acknowledged>,
): Promise<string[]> {
  const problems: string[] = [];
  const told = host.wasTold(ref.version);
  const last = acknowledged.get(host.name);
  const shown = await host.storage.show(ref).catch(() => null);
  if (shown?.status === 'verified' && shown.digest !== inCloud) {
    problems.push(`${host.name} says verified, the cloud has another content`);
  }
  if (shown !== null && shown.status !== 'verified' && shown.status !== 'uploaded' && !told) {
    problems.push(`${host.name} stays ${shown.status}, and was not told`);
  }
  // What is evicted is in the cloud.
  host.passTime();
  await host.storage.cleanupStore({ olderThanMs: 1 });
  const got = await host.storage.get(ref).then(
    ({ manifest }) => manifest.digest ?? 'none',
    (error: { code?: string }) => (error.code === 'not_found' ? null : `failed: ${error}`),
  );
  if (got?.startsWith('failed')) problems.push(`${host.name} get ${got}`);
  if (last === undefined) return problems;
  if (!told && !last.deleted && got !== last.digest) {
    problems.push(`${host.name} saved ${last.digest}, gets ${got}, and was not told`);
  }
  if (!told && last.deleted && got !== null && got !== inCloud) {
    problems.push(`${host.name} deleted it, and gets ${got}`);
  }
  if (!told && got !== null && got !== inCloud) {
    problems.push(`${host.name} gets ${got}, the cloud has ${inCloud}`);
  }
  return problems;
}
