/**
 * Two hosts and a web user on one cloud, at random, with faults on every path: requests fail, are
 * lost and held up, hosts are killed and paused, the database is put back to an earlier time. What is deleted is
 * undone and purged. After quiet every host, row and object agree, or the loser was told; what was undeleted is there,
 * and what was purged is nowhere. `CHAOS_SEEDS=10 CHAOS_WRITES=500`
 * is the long form; `CHAOS_SEED` begins elsewhere.
 */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient } from '@supabase/supabase-js';
import { SignJWT } from 'jose';
import { expect, test } from 'vitest';
import { parseObjectKey } from '../../node-agent/contract.ts';
import { type Stack, startStack } from '../../supabase/embedded/stack.ts';
import { isByHostKey, keyFor } from '../support/by-host-key.ts';
import type { Fault, Rule } from '../support/fault-proxy.ts';
import { makeRandom } from '../support/random.ts';
import { restoreBackup, takeBackup } from './backup.ts';
import { ChaosHost, type Result } from './host.ts';

const WRITES = Number(process.env.CHAOS_WRITES ?? 120);
const SEEDS = Number(process.env.CHAOS_SEEDS ?? 1);
const FIRST = Number(process.env.CHAOS_SEED ?? 1);
const OWNER = 'c0ffee00-0000-4000-8000-000000000002';
const BUCKET = 'codebegen-projects';
const PROJECTS = 4;
/** How long the end may take, in rounds. */
const MAX_ROUNDS = 60;

type Ref = { projectId: string; version: number; generationId: string };

test.each(Array.from({ length: SEEDS }, (_, i) => FIRST + i))(
  'seed %i: nothing acknowledged is lost in silence',
  async (seed) => {
    const folder = await mkdtemp(join(tmpdir(), 'codebegen-chaos-'));
    const stack = await startStack({ port: 0, functions: isByHostKey });
    const hosts: ChaosHost[] = [];
    try {
      const key = await keyFor(stack, BUCKET);
      for (const name of ['a', 'b']) {
        hosts.push(
          await ChaosHost.start(name, stack.url, {
            storePath: join(folder, name, 'store'),
            cachePath: join(folder, name, 'cache'),
            key,
          }),
        );
      }
      await new Chaos(stack, hosts, seed).run();
    } finally {
      for (const host of hosts) await host.close();
      await stack.close();
      await rm(folder, { recursive: true, force: true });
    }
  },
  1_800_000,
);

class Chaos {
  readonly #stack: Stack;
  readonly #hosts: readonly ChaosHost[];
  readonly #random: () => number;
  readonly #seed: number;
  readonly #projects = Array.from({ length: PROJECTS }, () => `p-${randomUUID().slice(0, 8)}`);
  /** What each host was last told that it has, by host and ref; `null` where it deleted it. */
  readonly #last = new Map<string, { ref: Ref; host: ChaosHost; digest: string | null }>();
  /** Where a host died in the middle of something: nobody knows whether it was done. */
  readonly #unknown = new Set<string>();
  readonly #deletedByUser = new Set<string>();
  /** By whom a generation was deleted since it was undeleted the last time. */
  readonly #deletedBy = new Map<string, Set<string>>();
  /** What was undeleted, and not deleted since. */
  readonly #undeleted = new Set<string>();
  /** What was purged: nothing of it comes back. */
  readonly #purged = new Set<string>();
  #restored = false;

  constructor(stack: Stack, hosts: readonly ChaosHost[], seed: number) {
    this.#stack = stack;
    this.#hosts = hosts;
    this.#seed = seed;
    this.#random = makeRandom(seed);
  }

  async run(): Promise<void> {
    const { pg } = this.#stack.database;
    for (const host of this.#hosts) host.proxy.rule = this.#faults();
    await takeBackup(pg);
    let written = 0;
    let backedUpAt = 0;
    while (written < WRITES) {
      if (await this.#write()) written++;
      const dice = this.#random();
      const host = this.#pick(this.#hosts);
      if (dice < 0.02) await host.kill();
      else if (dice < 0.03) await this.#pause(host);
      // What a user deletes that no host has, a database that is put back knows no more.
      else if (dice < 0.09 && (backedUpAt === 0 || this.#restored)) await this.#deleteAsUser();
      else if (dice < 0.12) await host.send({ do: 'learn' });
      else if (dice < 0.14) await host.send({ do: 'evict' });
      else if (dice < 0.26) await this.#undelete(host);
      else if (dice < 0.34) await this.#undeleteAsUser();
      else if (dice < 0.36) await this.#purge(host);
      // Once, somewhere in the middle: what was done since is forgotten there.
      if (backedUpAt === 0 && written > WRITES * 0.4) {
        await takeBackup(pg);
        backedUpAt = written;
      }
      if (!this.#restored && backedUpAt > 0 && written > WRITES * 0.6) {
        this.#restored = true;
        await this.#hearAll();
        await restoreBackup(pg);
        // What was undone since is not, there.
        this.#undeleted.clear();
      }
    }
    await this.#settle();
    expect(await this.#check(), `CHAOS_SEED=${this.#seed}`).toEqual([]);
  }

  /** What goes wrong with one request in eight. */
  #faults(): Rule {
    const faults: Fault[] = [
      { kind: 'answer', status: 503 },
      { kind: 'answer', status: 500 },
      { kind: 'answer', status: 404, text: '<html>gateway</html>' },
      { kind: 'answer', status: 200, text: 'null' },
      { kind: 'lose' },
      { kind: 'lose' },
      { kind: 'down' },
      { kind: 'stall' },
      { kind: 'truncate', afterBytes: 3 },
    ];
    return () => (this.#random() < 0.12 ? this.#pick(faults) : null);
  }

  readonly #history = new Map<string, string[]>();

  /** What was done to a generation, for a failure to tell. */
  #say({ projectId, version }: Pick<Ref, 'projectId' | 'version'>, what: string): void {
    const name = `${projectId} ${version}`;
    this.#history.set(name, [...(this.#history.get(name) ?? []), what]);
  }

  #pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.#random() * items.length)]!;
  }

  #ref(): Ref {
    const version = 1 + Math.floor(this.#random() * Math.max(4, WRITES / 12));
    return { projectId: this.#pick(this.#projects), version, generationId: `g${version}` };
  }

  /** @returns whether something was acknowledged */
  async #write(): Promise<boolean> {
    const host = this.#pick(this.#hosts);
    const ref = this.#ref();
    const name = `${host.name} ${ref.projectId} ${ref.version}`;
    const dice = this.#random();
    if (dice < 0.12) {
      const result = await host.send({ do: 'delete', ref });
      this.#say(ref, `${host.name} delete ${JSON.stringify(result).slice(0, 40)}`);
      this.#noteDeletion(ref, host.name);
      if (result === 'dead') this.#unknown.add(name);
      else if ('value' in result) {
        this.#last.set(name, { ref, host, digest: null });
        return true;
      }
      return false;
    }
    const text = this.#pick(['X', 'X', 'Y', 'Z']);
    const replace = dice < 0.4;
    const result = await host.send({ do: 'save', ref, text, ownerId: OWNER, replace });
    this.#say(
      ref,
      `${host.name} ${replace ? 'replace' : 'save'} ${text} ${JSON.stringify(result).slice(0, 40)}`,
    );
    if (result === 'dead') this.#unknown.add(name);
    if (result === 'dead' || !('value' in result)) return false;
    this.#last.set(name, { ref, host, digest: result.value as string });
    this.#unknown.delete(name);
    return true;
  }

  #noteDeletion({ projectId, version }: Pick<Ref, 'projectId' | 'version'>, by: string): void {
    const name = `${projectId} ${version}`;
    this.#undeleted.delete(name);
    const known = this.#deletedBy.get(name) ?? new Set();
    this.#deletedBy.set(name, known.add(by));
  }

  /** What it holds then is whatever was deleted. */
  #noteUndeletion({ projectId, version }: Pick<Ref, 'projectId' | 'version'>): void {
    const name = `${projectId} ${version}`;
    this.#undeleted.add(name);
    this.#deletedBy.delete(name);
    this.#deletedByUser.delete(name);
    for (const host of this.#hosts) this.#unknown.add(`${host.name} ${name}`);
  }

  /** One that somebody deleted; `null` where nobody did yet. */
  #deletedRef(): Ref | null {
    if (this.#deletedBy.size === 0) return null;
    const [projectId = '', version = ''] = this.#pick([...this.#deletedBy.keys()]).split(' ');
    return { projectId, version: Number(version), generationId: `g${version}` };
  }

  async #undelete(host: ChaosHost): Promise<void> {
    const ref = this.#deletedRef();
    if (ref === null) return;
    const name = `${ref.projectId} ${ref.version}`;
    const result = await host.send({ do: 'undelete', ref });
    this.#say(ref, `${host.name} undelete ${JSON.stringify(result).slice(0, 40)}`);
    if (result === 'dead' || !('value' in result)) {
      // It may have been carried out all the same.
      for (const { name: at } of this.#hosts) this.#unknown.add(`${at} ${name}`);
      this.#deletedByUser.delete(name);
      return;
    }
    if (!(result.value as { undeleted: boolean }).undeleted) return;
    const others = [...(this.#deletedBy.get(name) ?? [])].filter((by) => by !== host.name);
    this.#noteUndeletion(ref);
    // A deletion of another host that the cloud has not heard of is another one.
    if (others.length > 0) this.#undeleted.delete(name);
  }

  async #undeleteAsUser(): Promise<void> {
    const deleted = this.#deletedRef();
    if (deleted === null) return;
    const { projectId, version } = deleted;
    const user = await this.#user();
    const { data } = await user.rpc('storage_undelete_generation', {
      p_project_id: projectId,
      p_version: version,
    });
    this.#say({ projectId, version }, `the user undeletes it: ${JSON.stringify(data)}`);
    const { outcome = null } = (data ?? {}) as { outcome?: string };
    if (outcome === 'undeleted') this.#noteUndeletion({ projectId, version });
  }

  /** Some of what is deleted is due now, and goes for good. */
  async #purge(host: ChaosHost): Promise<void> {
    const { rows } = await this.#stack.database.pg.query<{ name: string }>(
      `update storage_generations set purge_at = now() - interval '1 minute'
       where project_id = $1 and purge_at is not null and random() < 0.5
       returning project_id || ' ' || version as name`,
      [this.#pick(this.#projects)],
    );
    await host.send({ do: 'purge' });
    const { rows: gone } = await this.#stack.database.pg.query<{ name: string }>(
      `select project_id || ' ' || version as name from storage_generations
       where purged_at is not null and project_id || ' ' || version = any($1)`,
      [rows.map(({ name }) => name)],
    );
    for (const { name } of gone) {
      this.#purged.add(name);
      const [projectId = '', version = ''] = name.split(' ');
      this.#say({ projectId, version: Number(version) }, `${host.name} purges it`);
    }
  }

  async #pause(host: ChaosHost): Promise<void> {
    host.pause();
    for (let i = 0; i < 3; i++) await this.#writeElsewhere(host);
    host.resume();
  }

  async #writeElsewhere(paused: ChaosHost): Promise<void> {
    const other = this.#hosts.find((host) => host !== paused)!;
    await other.send({ do: 'drain' });
  }

  /** As the Edge Function does it; sometimes it ends in the middle. */
  async #deleteAsUser(): Promise<void> {
    const { projectId, version } = this.#ref();
    const { url, keys } = this.#stack;
    const user = await this.#user();
    const { data } = await user.rpc('storage_delete_generation', {
      p_project_id: projectId,
      p_version: version,
    });
    const target = data as { objects: { bucket: string; object_key: string }[] } | null;
    if (target === null) return;
    this.#deletedByUser.add(`${projectId} ${version}`);
    this.#noteDeletion({ projectId, version }, 'user');
    this.#say({ projectId, version }, 'the user deletes it');
    if (this.#random() < 0.3) return;
    const service = createClient(url, keys.serviceRoleKey);
    const objectKeys = target.objects.map(({ object_key }) => object_key);
    await service.storage.from(BUCKET).remove(objectKeys);
    await service.rpc('storage_record_removals', { p_objects: target.objects });
  }

  async #user() {
    const token = await new SignJWT({ role: 'authenticated', aud: 'authenticated', sub: OWNER })
      .setProtectedHeader({ alg: 'HS256' })
      .setExpirationTime('1 hour')
      .sign(new TextEncoder().encode(this.#stack.keys.jwtSecret));
    const { url, keys } = this.#stack;
    return createClient(url, keys.publishableKey, { accessToken: async () => token });
  }

  /** Every host follows what users deleted until now. */
  async #hearAll(): Promise<void> {
    for (const host of this.#hosts) {
      const rule = host.proxy.rule;
      host.proxy.rule = () => null;
      await this.#certainly(host, { do: 'learn' });
      host.proxy.rule = rule;
    }
  }

  async #certainly(host: ChaosHost, command: Parameters<ChaosHost['send']>[0]): Promise<unknown> {
    for (;;) {
      const result: Result = await host.send(command);
      if (result !== 'dead' && 'value' in result) return result.value;
    }
  }

  async #settle(): Promise<void> {
    for (const host of this.#hosts) host.proxy.rule = () => null;
    /** What kept each of them busy. */
    const rounds: string[] = [];
    for (let round = 0; round < MAX_ROUNDS; round++) {
      let busy = 0;
      const why: string[] = [];
      for (const host of this.#hosts) {
        const learnt = (await this.#certainly(host, { do: 'learn' })) as number;
        busy += learnt;
        // What waits for its time is tried now, as is what was given up.
        await this.#certainly(host, { do: 'retry' });
        await this.#certainly(host, { do: 'drain' });
        const { owed } = (await this.#certainly(host, { do: 'status' })) as { owed: number };
        busy += owed;
        const items = owed === 0 ? [] : await this.#certainly(host, { do: 'uploads' });
        why.push(`${host.name} learnt ${learnt}, owes ${JSON.stringify(items).slice(0, 400)}`);
      }
      await this.#stack.database.pg.query(
        `update storage_archives set state_at = now() - interval '1 day',
           look_again_at = case when look_again_at is not null then now() - interval '1 hour' end`,
      );
      const swept = (await this.#certainly(this.#hosts[0]!, { do: 'sweep' })) as number;
      busy += swept;
      rounds.push(`${why.join(', ')}, swept ${swept}`);
      if (busy === 0 && round >= 3) return;
    }
    const owed = await this.#owed();
    throw new Error(
      `CHAOS_SEED=${this.#seed}: it does not end: ${rounds.slice(-2).join('; ')}; ${JSON.stringify(owed)}`,
    );
  }

  /** What is still owed: what was done to it, and what the cloud has of it. */
  async #owed(): Promise<object[]> {
    const { pg } = this.#stack.database;
    const owed: object[] = [];
    for (const host of this.#hosts) {
      const items = (await this.#certainly(host, { do: 'uploads' })) as Ref[];
      for (const { projectId, version } of items.slice(0, 3)) {
        const of = [projectId, version];
        const rows = await pg.query(
          'select * from storage_generations where project_id = $1 and version = $2',
          of,
        );
        const archives = await pg.query(
          'select object_key, state, digest, host_id from storage_archives where project_id = $1 and version = $2',
          of,
        );
        const objects = await pg.query('select name from storage.objects where name like $1', [
          `${projectId}/generations/v${version}\\_\\_%`,
        ]);
        const ref = { projectId, version };
        const shown = await Promise.all(this.#hosts.map((one) => one.send({ do: 'show', ref })));
        const history = this.#history.get(`${projectId} ${version}`);
        owed.push({
          history,
          row: rows.rows,
          archives: archives.rows,
          objects: objects.rows,
          shown,
        });
      }
    }
    return owed;
  }

  async #check(): Promise<string[]> {
    const { pg } = this.#stack.database;
    const problems: string[] = [];
    const { rows } = await pg.query<{
      name: string;
      status: string;
      digest: string;
      object_key: string;
    }>(
      `select project_id || ' ' || version as name, status, digest, object_key
       from storage_generations where project_id = any($1)`,
      [this.#projects],
    );
    const { rows: objects } = await pg.query<{ name: string }>(
      'select name from storage.objects where bucket_id = $1',
      [BUCKET],
    );
    const isThere = (status: string) => status === 'uploaded' || status === 'verified';
    const named = new Set(
      rows.filter(({ status }) => isThere(status)).map(({ object_key }) => object_key),
    );
    // What can be undone is there, too.
    const { rows: kept } = await pg.query<{ object_key: string }>(
      `select object_key from storage_archives where state = 'kept' and project_id = any($1)`,
      [this.#projects],
    );
    for (const { object_key } of kept) named.add(object_key);
    // What was given up may have something in its place.
    const spared = new Set(
      rows.filter(({ status }) => status === 'failed').map(({ object_key }) => object_key),
    );
    if (this.#restored) {
      // A database that was put back may expect what its host has deleted since.
      const { rows: expected } = await pg.query<{ object_key: string }>(
        `select object_key from storage_archives where state = 'expected'`,
      );
      for (const { object_key } of expected) spared.add(object_key);
    }
    const there = new Set(objects.map(({ name }) => name));
    for (const key of named) {
      // What was removed before it was put back may go after that: whoever replaced it is told.
      const { projectId, version } = parseObjectKey(key)!;
      const isTold = this.#hosts.some(({ told }) => told.has(`${projectId} ${version}`));
      if (!there.has(key) && !(this.#restored && isTold)) {
        problems.push(`${key} is not in the bucket`);
      }
    }
    for (const key of there) {
      // What is written down of a project, once an hour or so.
      if (key.endsWith('/project.json')) continue;
      if (!named.has(key) && !spared.has(key)) problems.push(`${key} is named by no row`);
    }
    const byName = new Map(rows.map((row) => [row.name, row]));
    for (const name of this.#deletedByUser) {
      if (byName.get(name)?.status !== 'deleted') problems.push(`${name} is back`);
    }
    for (const name of this.#undeleted) {
      const { status } = byName.get(name) ?? {};
      const isTold = this.#hosts.some(({ conflicts }) => conflicts.has(name));
      if (status === 'deleted' && !isTold) {
        problems.push(
          `${name} was undeleted, and is not there`,
          ...(this.#history.get(name) ?? []),
        );
      }
    }
    for (const name of this.#restored ? [] : this.#purged) {
      const { status } = byName.get(name) ?? {};
      if (status !== 'deleted') {
        problems.push(`${name} was purged, and is ${status}`, ...(this.#history.get(name) ?? []));
      }
    }
    for (const [at, { ref, host, digest }] of this.#last) {
      if (this.#unknown.has(at)) continue;
      const name = `${ref.projectId} ${ref.version}`;
      const row = byName.get(name);
      const inCloud = row !== undefined && isThere(row.status) ? row.digest : null;
      const shown = await host.send({ do: 'show', ref });
      const told =
        host.told.has(name) ||
        (shown !== 'dead' &&
          'value' in shown &&
          (shown.value as { status: string }).status === 'failed');
      const got = await host.send({ do: 'get', ref });
      const has = got !== 'dead' && 'value' in got ? (got.value as string) : null;
      const failure = got !== 'dead' && 'failure' in got ? got.failure : null;
      // A backup of the database holds no bytes: what was removed since is there by name alone.
      if (failure !== null && failure !== 'not_found' && !(this.#restored && inCloud !== null)) {
        problems.push(`${at}: get fails: ${failure}`);
      }
      const before = problems.length;
      if (told || (failure !== null && failure !== 'not_found')) continue;
      if (has !== inCloud) problems.push(`${at}: it gives ${has}, the cloud has ${inCloud}`);
      if (digest === null && has !== null) problems.push(`${at}: deleted, and gives ${has}`);
      // Deleted by somebody, it is gone for everybody.
      if (digest !== null && has !== digest && row?.status !== 'deleted') {
        problems.push(`${at}: saved ${digest}, gives ${has}, and was not told`);
      }
      if (problems.length > before) problems.push(...(this.#history.get(name) ?? []));
    }
    return problems;
  }
}
