/** A storage that is closed under a change has done it, or says that it is closed: nothing is half done. */
import { setImmediate } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { EventKind } from '../../node-agent/events/events.ts';
import type { Storage } from '../../node-agent/index.ts';
import { openTestStorage } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';
import { textsOf } from '../support/two-hosts.ts';

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
