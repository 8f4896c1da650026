/** A storage that is closed under a change has done it, or says that it is closed: nothing is half done. */
import { setImmediate } from 'node:timers/promises';
import { describe, expect, inject, test } from 'vitest';
import type { EventKind } from '../../node-agent/events/events.ts';
import type { Storage } from '../../node-agent/index.ts';
import { uniqueId } from '../support/cloud.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { openTestStorage, testCloud } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';
import { quiet, textsOf, until } from '../support/two-hosts.ts';

const REF = { projectId: 'p', version: 1, generationId: 'g' };
const OWNER = 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa';

type Change = Readonly<{
  /** What it is done to. @returns the digest of what was there first */
  make(storage: Storage): Promise<string>;
  change(storage: Storage, first: string): Promise<unknown>;
  /** The event that tells of it, where there is one. */
  told: EventKind | null;
  /** What can be read of it. */
  look(storage: Storage): Promise<unknown>;
  before: unknown;
  after: unknown;
}>;

const save = async (storage: Storage) => (await storage.save({ ...REF, files: { a: '1' } })).digest;
const countOf = async (storage: Storage) => (await storage.list(REF.projectId)).items.length;

const CHANGES: Record<string, Change> = {
  'a deletion': {
    make: save,
    change: (storage) => storage.delete(REF),
    told: 'generation.deleted',
    look: countOf,
    before: 1,
    after: 0,
  },
  'the deletion of a project': {
    make: save,
    change: (storage) => storage.deleteProject(REF.projectId),
    told: 'generation.deleted',
    look: countOf,
    before: 1,
    after: 0,
  },
  'an undeletion': {
    make: async (storage) => {
      const digest = await save(storage);
      await storage.delete(REF);
      return digest;
    },
    change: (storage) => storage.undelete(REF),
    told: 'generation.undeleted',
    look: countOf,
    before: 0,
    after: 1,
  },
  'content that is brought back': {
    make: async (storage) => {
      const digest = await save(storage);
      await storage.save({ ...REF, files: { a: '2' }, replace: true });
      return digest;
    },
    change: (storage, digest) => storage.undelete(REF, { digest }),
    told: 'generation.saved',
    look: (storage) => textsOf(storage, REF),
    before: { a: '2' },
    after: { a: '1' },
  },
  'an activation': {
    make: save,
    change: (storage) => storage.activate(REF),
    told: null,
    look: (storage) => storage.activeVersion(REF.projectId),
    before: null,
    after: 1,
  },
  'an owner': {
    make: save,
    change: (storage) => storage.setOwner(REF.projectId, OWNER),
    told: null,
    look: async (storage) => (await storage.listProjects()).items[0]!.ownerId,
    before: null,
    after: OWNER,
  },
};

describe.each(Object.entries(CHANGES))('%s', (_, { make, change, told, look, before, after }) => {
  test.each([0, 1, 5, 20, 80])('closed %i turns later', (turns) =>
    closedUnder(async () => {
      for (let i = 0; i < turns; i++) await setImmediate();
    }),
  );

  if (told !== null) {
    test('closed as soon as it is told', () => closedUnder((events) => events.told));
  }

  async function closedUnder(moment: (events: { told: Promise<void> }) => Promise<void>) {
    const storePath = await tempFolder();
    const { promise, resolve } = Promise.withResolvers<void>();
    const storage = await openTestStorage({
      storePath,
      onEvent: ({ kind }) => {
        if (isChanging && kind === told) resolve();
      },
    });
    let isChanging = false;
    const first = await make(storage);
    expect(await look(storage)).toEqual(before);
    isChanging = true;
    const closing = moment({ told: promise }).then(() => storage.close());
    const [outcome] = await Promise.allSettled([change(storage, first), closing]);
    if (outcome.status === 'rejected') {
      expect(outcome.reason).toMatchObject({ code: 'unavailable' });
    }
    const again = await openTestStorage({ storePath });
    expect(await look(again)).toEqual(outcome.status === 'fulfilled' ? after : before);
  }
});

test('a project is not deleted to its end once it is to close: a repeat goes on', async () => {
  const storePath = await tempFolder();
  let deleted = 0;
  const closing = Promise.withResolvers<Promise<void>>();
  const storage = await openTestStorage({
    storePath,
    onEvent: ({ kind }) => {
      if (kind !== 'generation.deleted' || ++deleted > 1) return;
      closing.resolve(storage.close({ drainMs: 0 }));
    },
  });
  const count = 30;
  for (let i = 1; i <= count; i++) await storage.save({ projectId: 'p', files: { a: `${i}` } });
  await expect(storage.deleteProject('p')).rejects.toMatchObject({ code: 'unavailable' });
  await await closing.promise;
  expect(deleted).toBeLessThan(count);
  const again = await openTestStorage({ storePath });
  expect((await again.list('p')).items).toHaveLength(count - deleted);
  await again.deleteProject('p');
  expect((await again.list('p')).items).toEqual([]);
});

test('what is undeleted in a cloud that is away keeps nobody from closing', async () => {
  const proxy = await startFaultProxy(inject('stack').SUPABASE_URL);
  const cloud = { ...testCloud(uniqueId('bucket')), url: proxy.url };
  const storage = await openTestStorage({ cloud });
  const projectId = uniqueId();
  for (let i = 1; i <= 5; i++) await storage.save({ projectId, files: { a: `${i}` } });
  await quiet(storage);
  await storage.deleteProject(projectId);
  await quiet(storage);
  // It lists what there is, and answers nothing else.
  proxy.rule = (_, path) => (/list_all_generations/.test(path) ? null : { kind: 'stall' });
  const undeleting = storage.undeleteProject(projectId);
  const undeleted = expect(undeleting).rejects.toMatchObject({ code: 'unavailable' });
  await until(() => proxy.seen.some((line) => /record_undeletion/.test(line)));
  await storage.close({ drainMs: 0 });
  await undeleted;
}, 20_000);
