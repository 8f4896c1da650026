/**
 * 100 000 generations in the store and its catalog: how long a daemon takes to be ready, and what
 * saves, gets, lists and evictions take beside those of an empty store.
 */
import { copyFileSync, linkSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { openStorage, type Receipt, readConfig, type Storage } from '../../node-agent/index.ts';
import { Layout } from '../../node-agent/store/layout.ts';
import { ROOT } from '../support/run.ts';
import { waitForStatus } from '../support/storage.ts';
import { readSources } from './corpus.ts';
import { runProgram, startDaemon, startHost } from './host.ts';
import { alternate, atMost, type Measured, ratios, told } from './measure.ts';

const PROJECTS = 10_000;
const VERSIONS = 10;
/** Versions of one more project. */
const MANY = 2000;
const ROUNDS = 7;
const SAVES = 40;
/** Generations that are evicted from each store: those that were saved, also to warm up. */
const EVICTED = 2 * (SAVES + SAVES / 10);

type Calls = 'save' | 'get' | 'list' | 'projects' | 'evict' | 'saveMany' | 'getMany' | 'missMany';
type Ratios = Record<Calls, number[]>;

export async function scale(): Promise<Measured[]> {
  const host = await startHost();
  const stores = { empty: join(host.folder, 'empty'), full: join(host.folder, 'full') };
  const env = (name: 'empty' | 'full') => ({
    ...host.env,
    FILE_STORAGE_PATH: stores[name],
    CACHE_PATH: join(host.folder, `${name}-cache`),
  });
  try {
    await fill(env('full'));
    const starts: Measured[] = [];
    for (const [how, prepare] of Object.entries(STARTS)) {
      const ms: number[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        await prepare(env('full'));
        const daemon = await start(env('full'));
        ms.push(daemon.ms);
        await daemon.end('SIGTERM');
      }
      starts.push(atMost(`ready with 100 000 generations, ${how}`, ms, 'ms', 1000));
      restoreCatalog(env('full'));
    }
    const alone: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const daemon = await start(env('empty'));
      alone.push(daemon.ms);
      await daemon.end('SIGTERM');
    }
    const calls = await runProgram<Ratios>(
      import.meta.filename,
      [stores.empty, stores.full],
      env('full'),
    );
    return [
      ...starts,
      told('ready with an empty store', alone, 'ms'),
      atMost('save beside 100 000 generations: times an empty store', calls.save, '×', 1.2),
      atMost('get beside 100 000 generations: times an empty store', calls.get, '×', 1.2),
      atMost('save as the 2 001st version: times an empty store', calls.saveMany, '×', 1.2),
      atMost('get of one of 2 000 versions: times an empty store', calls.getMany, '×', 1.2),
      atMost('a miss beside 2 000 versions: times an empty store', calls.missMany, '×', 1.2),
      told('list of a project: times an empty store', calls.list, '×'),
      told('list of projects, 50 beside 1: times an empty store', calls.projects, '×'),
      told(`eviction of ${EVICTED}: times an empty store`, calls.evict, '×'),
    ];
  } finally {
    await host.close();
  }
}

/** What a start finds. */
const STARTS: Record<string, (env: Record<string, string>) => Promise<void> | void> = {
  'after a clean stop': () => {},
  'after a kill': async (env) => {
    await (await start(env)).end('SIGKILL');
  },
  'after a power loss': async (env) => {
    await (await start(env)).end('SIGKILL');
    onCatalog(env, (catalog) =>
      catalog.exec(`update meta set value = 'another boot' where key = 'scanned_boot'`),
    );
  },
  'without its catalog': removeCatalog,
};

/** A daemon from source, and how long it took until it was ready. */
function start(env: Record<string, string>) {
  return startDaemon(`${ROOT}/node-agent/bin.ts`, env);
}

/** Many generations like one that was saved, verified long ago. */
async function fill(env: Record<string, string>): Promise<void> {
  const storage = await openStorage({ ...readConfig(env), cloud: null, background: false });
  const template = await storage.save({ projectId: 'template', files: { a: 'content' } });
  await storage.archive(template);
  await storage.close();
  const layout = new Layout(env.FILE_STORAGE_PATH!);
  const first = (projectId: string) =>
    layout.generation({ projectId, version: 1, generationId: generationOf(projectId, 1) });
  const versionsOf = (projectId: string) => (projectId === 'many' ? MANY : VERSIONS);
  for (const projectId of ['many', ...Array.from({ length: PROJECTS }, (_, i) => nameOf(i))]) {
    for (let version = 1; version <= versionsOf(projectId); version++) {
      const folder = layout.generation({
        projectId,
        version,
        generationId: generationOf(projectId, version),
      });
      mkdirSync(folder, { recursive: true });
      // Of links to one file a file system takes no 100 000.
      const from = version === 1 ? template.path : first(projectId);
      for (const file of ['archive.tar.gz', 'archive.json']) {
        if (version === 1) copyFileSync(join(from, file), join(folder, file));
        else linkSync(join(from, file), join(folder, file));
      }
    }
  }
  onCatalog(env, (catalog) => {
    catalog.exec(`
      begin;
      update generations set created_at = '2099-01-01T00:00:00.000Z', status = 'verified', uploaded_at = '2026-01-01T00:00:00.000Z';
      delete from jobs;
      create temporary table numbers as
        with recursive n (i) as (select 0 union all select i + 1 from n where i < ${PROJECTS - 1})
        select 'p' || printf('%05d', i) as id from n;
      insert into projects (id, folded) select id, id from numbers;
      create temporary table row as select * from generations;`);
    const insert = `insert into generations select * from row`;
    for (let version = 1; version <= VERSIONS; version++) {
      catalog.exec(`
        create temporary table next as select row.* from numbers, row;
        update next set project_id = (select id from numbers n where n.rowid = next.rowid),
          version = ${version}, generation_id = 'g';
        ${insert.replace('row', 'next')};
        drop table next;`);
    }
    catalog.exec(`
      insert into projects (id, folded) values ('many', 'many');
      insert into generations select 'many', n.rowid, 'g' || n.rowid, row.state, row.instance_id,
        row.status, row.failure, row.digest, row.sha256, row.md5, row.archive_bytes, row.source_bytes,
        row.file_count, row.created_at, row.uploaded_at, row.owner_id, row.is_replacement,
        row.object_key, row.earlier_keys, row.replaced_digest, row.cloud_digest, row.provisional
        from numbers n, row where n.rowid <= ${MANY};
      commit`);
  });
  for (const name of KEPT) copyFileSync(join(layout.own, name), join(layout.own, `${name}.kept`));
}

/** What is put back together: a catalog, and what tells that it is of this time. */
const KEPT = ['catalog.sqlite', 'epoch'];

/** What is made again from the disk knows nothing of uploads: all would be owed. */
function restoreCatalog(env: Record<string, string>): void {
  const { own } = new Layout(env.FILE_STORAGE_PATH!);
  removeCatalog(env);
  for (const name of KEPT) copyFileSync(join(own, `${name}.kept`), join(own, name));
}

function removeCatalog(env: Record<string, string>): void {
  const { catalog } = new Layout(env.FILE_STORAGE_PATH!);
  for (const suffix of ['', '-wal', '-shm']) rmSync(catalog + suffix, { force: true });
}

const generationOf = (projectId: string, version: number) =>
  projectId === 'many' ? `g${version}` : 'g';

function nameOf(i: number): string {
  return `p${String(i).padStart(5, '0')}`;
}

function onCatalog(env: Record<string, string>, change: (catalog: DatabaseSync) => void): void {
  const catalog = new DatabaseSync(new Layout(env.FILE_STORAGE_PATH!).catalog);
  change(catalog);
  catalog.close();
}

if (import.meta.main) {
  const [empty, full] = process.argv.slice(2) as [string, string];
  const config = readConfig(process.env);
  const open = (storePath: string) =>
    openStorage({ ...config, storePath, cache: { ...config.cache, path: `${storePath}-cache` } });
  const storages = { empty: await open(empty), full: await open(full) };
  await storages.full.scanned(600_000);
  const tree = readSources(61);
  const saved: Record<string, Receipt> = {};
  const compare = async (
    rounds: number,
    call: (storage: Storage, name: 'empty' | 'full') => Promise<unknown>,
    warmUp = rounds / 10,
  ) => {
    const times = await alternate(
      {
        empty: () => call(storages.empty, 'empty'),
        full: () => call(storages.full, 'full'),
      },
      { rounds, warmUp },
    );
    return ratios(times.full, times.empty);
  };
  const results: Ratios = {
    save: await compare(SAVES, async (storage, name) => {
      // One cloud for both: they must not have a project in common.
      const projectId = nameOf(name === 'full' ? PROJECTS / 2 : PROJECTS);
      saved[name] = await storage.save({ projectId, files: tree });
    }),
    get: await compare(1000, (storage, name) => storage.get(saved[name]!)),
    saveMany: await compare(SAVES, async (storage, name) => {
      const projectId = name === 'full' ? 'many' : 'few';
      saved[`${name} many`] = await storage.save({ projectId, files: tree });
    }),
    getMany: await compare(1000, (storage, name) => storage.get(saved[`${name} many`]!)),
    missMany: await compare(50, (storage, name) =>
      storage.get({ ...saved[`${name} many`]!, version: 999_999 }).catch(() => null),
    ),
    list: await compare(1000, (storage, name) => storage.list(saved[name]!.projectId)),
    projects: await compare(100, (storage) => storage.listProjects()),
    evict: [],
  };
  for (const name of ['empty', 'full'] as const) {
    await waitForStatus(storages[name], saved[name]!, 'verified');
    await storages[name].drain(60_000);
  }
  const evict = async (storage: Storage) => {
    const { evicted } = await storage.cleanupStore({ olderThanMs: 0 });
    if (evicted !== EVICTED) throw new Error(`${evicted} were evicted`);
  };
  results.evict = await compare(1, evict, 0);
  for (const storage of Object.values(storages)) await storage.close();
  console.log(JSON.stringify(results));
}
