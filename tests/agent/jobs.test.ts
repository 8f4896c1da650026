/** The table of jobs: who gets which, when, and what becomes of it. */
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Catalog } from '../../node-agent/catalog/catalog.ts';
import { type Job, STEPS, type Step } from '../../node-agent/catalog/jobs.ts';
import { giveUp, isObsolete, oweAllAgain, retryGivenUp } from '../../node-agent/catalog/owing.ts';
import { finishSave } from '../../node-agent/catalog/saving.ts';
import { type ErrorCode, StorageError } from '../../node-agent/contract.ts';
import { outcomeOf } from '../../node-agent/upload/settle.ts';
import { tempFolder } from '../support/temp.ts';

const SAVED_AT = '2026-01-01T00:00:00.000Z';
const FACTS = {
  ...{ digest: 'd', sha256: 's', md5: 'm', archiveBytes: 1, sourceBytes: 1, fileCount: 1 },
  ...{ ownerId: null, isReplacement: false },
};
const refOf = (version: number, projectId = 'p') => ({ projectId, version, generationId: 'g' });

/** A catalog with some generations of a project, for which nothing is owed. */
async function openCatalog(versions = 5): Promise<Catalog> {
  const catalog = new Catalog(join(await tempFolder(), 'catalog.sqlite'));
  onTestFinished(() => catalog.close());
  for (let version = 1; version <= versions; version++) {
    finishSave(catalog, refOf(version), FACTS, SAVED_AT, 0);
    catalog.jobs.dropAll(refOf(version));
  }
  return catalog;
}

const claim = (catalog: Catalog, steps: readonly Step[], now: number, limit = 10) =>
  catalog.jobs.claim(steps, limit, 'me', now).map(({ version, step }) => `${version} ${step}`);
const all = (catalog: Catalog) => catalog.jobs.list(0, 100);
const only = (catalog: Catalog) => all(catalog)[0]!;

test('what is due first is taken first, with more of its step, as many as are asked for', async () => {
  const catalog = await openCatalog();
  catalog.jobs.add(refOf(1), 'upload', 30);
  catalog.jobs.add(refOf(2), 'reserve', 20);
  catalog.jobs.add(refOf(3), 'reserve', 10);
  catalog.jobs.add(refOf(4), 'reserve', 50);
  const steps: Step[] = ['upload', 'reserve'];
  expect([catalog.jobs.nextDue('reserve'), catalog.jobs.nextDue('record')]).toEqual([10, null]);
  expect(claim(catalog, steps, 9)).toEqual([]);
  expect(claim(catalog, ['record'], 100)).toEqual([]);
  expect(claim(catalog, steps, 40)).toEqual(['3 reserve', '2 reserve']);
  expect(claim(catalog, steps, 40)).toEqual(['1 upload']);
  expect(claim(catalog, steps, 49)).toEqual([]);
  expect(claim(catalog, steps, 50)).toEqual(['4 reserve']);
  expect(all(catalog).map(({ leased_by }) => leased_by)).toEqual(['me', 'me', 'me', 'me']);
  const many = await openCatalog();
  for (let version = 1; version <= 5; version++) many.jobs.add(refOf(version), 'reserve', 10);
  expect(claim(many, ['reserve'], 10, 3)).toEqual(['1 reserve', '2 reserve', '3 reserve']);
});

test('of two that are due at once, the one that was owed first', async () => {
  const catalog = await openCatalog();
  catalog.jobs.add(refOf(2), 'upload', 10);
  catalog.jobs.add(refOf(1), 'reserve', 10);
  expect(claim(catalog, ['reserve', 'upload'], 10)).toEqual(['2 upload']);
});

test('one that failed is taken alone, and no other one with it', async () => {
  const catalog = await openCatalog();
  for (const version of [1, 2, 3]) catalog.jobs.add(refOf(version), 'reserve', 10);
  const [job] = catalog.jobs.claim(['reserve'], 1, 'me', 10);
  catalog.jobs.retry(job!, { step: 'reserve', dueAt: 5, failure: 'away' });
  expect(claim(catalog, ['reserve'], 10)).toEqual(['1 reserve']);
  expect(claim(catalog, ['reserve'], 10)).toEqual(['2 reserve', '3 reserve']);
  const other = await openCatalog();
  other.jobs.add(refOf(1), 'reserve', 10);
  other.jobs.add(refOf(2), 'reserve', 10);
  const [, second] = other.jobs.claim(['reserve'], 2, 'me', 10);
  for (const one of all(other)) other.jobs.release(one);
  other.jobs.retry(second!, { step: 'reserve', dueAt: 10, failure: 'away' });
  expect(claim(other, ['reserve'], 10)).toEqual(['1 reserve']);
});

test('jobs of one generation go one after another', async () => {
  const catalog = await openCatalog();
  catalog.jobs.add(refOf(1), 'upload', 10);
  catalog.jobs.add(refOf(1), 'reserve', 5);
  const [first] = catalog.jobs.claim(STEPS, 10, 'me', 10);
  expect(first).toMatchObject({ step: 'upload' });
  expect(claim(catalog, STEPS, 10)).toEqual([]);
  expect(catalog.jobs.hasLater(first!)).toBe(true);
  catalog.jobs.end(first!);
  expect(claim(catalog, STEPS, 10)).toEqual(['1 reserve']);
  expect(catalog.jobs.hasLater(only(catalog))).toBe(false);
});

test('what is owed already is not owed twice; a deletion is owed beside an upload', async () => {
  const catalog = await openCatalog();
  const steps = () => all(catalog).map(({ step }) => step);
  catalog.jobs.owe(refOf(1), 'reserve', 1);
  catalog.jobs.owe(refOf(1), 'reserve', 2);
  expect(steps()).toEqual(['reserve']);
  catalog.jobs.owe(refOf(1), 'delete', 3);
  expect(steps()).toEqual(['reserve', 'delete']);
  catalog.jobs.owe(refOf(1), 'delete', 4);
  catalog.jobs.owe(refOf(1), 'reserve', 5);
  expect(steps()).toEqual(['reserve', 'delete']);
  // What was set aside is no reason not to ask again.
  for (const job of all(catalog)) catalog.jobs.park(job, 'refused');
  catalog.jobs.owe(refOf(1), 'reserve', 6);
  expect(all(catalog)).toMatchObject([{ step: 'reserve', since: 6, parked: 0 }]);
});

test('each change of a job: where it goes on, and how often it failed', async () => {
  const catalog = await openCatalog();
  catalog.jobs.add(refOf(1), 'upload', 10);
  const lease = () => catalog.jobs.claim(STEPS, 1, 'me', 1e6)[0]!;
  catalog.jobs.retry(lease(), { step: 'upload', dueAt: 20, failure: 'away' });
  const failed = { attempts: 1, setbacks: 0, due_at: 20, failure: 'away', leased_by: null };
  expect(only(catalog)).toMatchObject(failed);
  catalog.jobs.retry(lease(), { step: 'reserve', dueAt: 30, failure: 'gone' });
  expect(only(catalog)).toMatchObject({ step: 'reserve', attempts: 2, setbacks: 1, due_at: 30 });
  catalog.jobs.release(lease());
  expect(only(catalog)).toMatchObject({ leased_by: null, attempts: 2 });
  catalog.jobs.note(lease(), { upload_url: 'https://x', uploaded_sha256: 'abc' });
  expect(only(catalog)).toMatchObject({ upload_url: 'https://x', uploaded_sha256: 'abc' });
  catalog.jobs.advance(only(catalog), 'record', 40);
  const advanced = { step: 'record', attempts: 0, failure: null, due_at: 40, leased_by: null };
  expect(only(catalog)).toMatchObject(advanced);
  catalog.jobs.park(lease(), 'refused');
  expect(only(catalog)).toMatchObject({ parked: 1, attempts: 1, failure: 'refused' });
  expect(claim(catalog, STEPS, 1e6)).toEqual([]);
});

test('what is owed, and what is set aside, is counted, from when on, and until when', async () => {
  const catalog = await openCatalog();
  const nothing = { owed: 0, parked: 0, since: null, nextDueAt: null };
  expect(catalog.jobs.counts()).toEqual(nothing);
  catalog.jobs.add(refOf(1), 'reserve', 10);
  catalog.jobs.add(refOf(2), 'upload', 5);
  expect(catalog.jobs.counts()).toEqual({ owed: 2, parked: 0, since: 5, nextDueAt: 5 });
  catalog.jobs.park(all(catalog)[1]!, 'refused');
  expect(catalog.jobs.counts()).toEqual({ owed: 1, parked: 1, since: 10, nextDueAt: 10 });
  catalog.jobs.claim(STEPS, 1, 'me', 10);
  expect(catalog.jobs.counts()).toEqual({ owed: 1, parked: 1, since: 10, nextDueAt: null });
});

test('a list goes on after a job, and may have those alone that are set aside', async () => {
  const catalog = await openCatalog();
  for (const version of [1, 2, 3, 4]) catalog.jobs.add(refOf(version), 'reserve', version);
  const [, second, third] = all(catalog);
  catalog.jobs.park(third!, 'refused');
  const versions = (jobs: Job[]) => jobs.map(({ version }) => version);
  expect(versions(catalog.jobs.list(second!.id, 10))).toEqual([3, 4]);
  expect(versions(catalog.jobs.list(0, 2))).toEqual([1, 2]);
  expect(versions(catalog.jobs.list(0, 10, { isParked: true }))).toEqual([3]);
  expect(catalog.jobs.list(0, 1)[0]).toMatchObject({ generation_id: 'g' });
});

test('what was given up begins anew, of one project or of all, and what waits is due at once', async () => {
  const catalog = await openCatalog();
  finishSave(catalog, refOf(1, 'q'), FACTS, SAVED_AT, 0);
  catalog.jobs.dropAll(refOf(1, 'q'));
  for (const [version, step] of [
    [1, 'record'],
    [2, 'reserve'],
    [3, 'delete'],
  ] as const) {
    catalog.jobs.add(refOf(version), step, 10);
  }
  catalog.jobs.add(refOf(1, 'q'), 'upload', 10);
  const [one, two, three, other] = all(catalog);
  giveUp(catalog, one!, 'too large', 20);
  catalog.jobs.retry(two!, { step: 'reserve', dueAt: 5000, failure: 'away' });
  catalog.jobs.park(three!, 'refused');
  giveUp(catalog, other!, 'too large', 20);
  const statusOf = (version: number, projectId = 'p') =>
    catalog.generations.find(projectId, version)!.status;
  expect([statusOf(1), statusOf(2), statusOf(1, 'q')]).toEqual(['failed', 'pending', 'failed']);
  expect(all(catalog)[0]).toMatchObject({ step: 'fail', given_up_at: 'record', due_at: 20 });

  expect(retryGivenUp(catalog, 100, 'p')).toBe(2);
  const fresh = { attempts: 0, setbacks: 0, parked: 0, given_up_at: null, failure: null };
  expect(all(catalog)).toMatchObject([
    { ...fresh, step: 'reserve', due_at: 100 },
    { step: 'reserve', due_at: 100, attempts: 1 },
    { ...fresh, step: 'delete', due_at: 100 },
    { step: 'fail', due_at: 20 },
  ]);
  expect([statusOf(1), statusOf(1, 'q')]).toEqual(['pending', 'failed']);
  expect(catalog.generations.find('p', 1)!.failure).toBeNull();
  catalog.generations.update(refOf(1, 'q'), { uploaded_at: SAVED_AT });
  expect(retryGivenUp(catalog, 200)).toBe(1);
  expect(statusOf(1, 'q')).toBe('uploaded');
  // What says in the cloud that it failed, right now, is let be.
  giveUp(catalog, all(catalog)[0]!, 'too large', 200);
  expect(catalog.jobs.claim(['fail'], 1, 'me', 200)).toHaveLength(1);
  expect(retryGivenUp(catalog, 300)).toBe(0);
});

test('what failed for no fault of its own is due at once, as if it had not', async () => {
  const catalog = await openCatalog();
  for (const version of [1, 2, 3, 4]) catalog.jobs.add(refOf(version), 'reserve', 10);
  const [a, b, parked, early] = all(catalog);
  for (const job of [a, b, early]) {
    catalog.jobs.retry(job!, { step: 'reserve', dueAt: job === early ? 1 : 500, failure: 'away' });
  }
  catalog.jobs.park(parked!, 'refused');
  catalog.jobs.forgive([a!.id, parked!.id, early!.id], 100);
  expect(all(catalog).map(({ attempts, due_at }) => [attempts, due_at])).toEqual([
    [0, 100],
    [1, 500],
    [1, 10],
    [0, 1],
  ]);
});

test('after somebody set the clock each is due when it was, and none too late', async () => {
  const catalog = await openCatalog();
  for (const version of [1, 2, 3]) catalog.jobs.add(refOf(version), 'reserve', version * 100);
  const due = () => all(catalog).map(({ due_at }) => due_at);
  catalog.jobs.adjustDue(0, 1000);
  expect(due()).toEqual([100, 200, 300]);
  catalog.jobs.adjustDue(49.6, 1000);
  expect(due()).toEqual([150, 250, 350]);
  catalog.jobs.adjustDue(0, 250);
  expect(due()).toEqual([150, 250, 250]);
  catalog.jobs.adjustDue(-100, 1000);
  expect(due()).toEqual([50, 150, 150]);
});

test('jobs come back from those that do not work on them any more', async () => {
  const catalog = await openCatalog();
  for (const version of [1, 2, 3]) catalog.jobs.add(refOf(version), 'reserve', 10);
  catalog.jobs.claim(STEPS, 1, 'dead', 10);
  catalog.jobs.claim(STEPS, 1, 'alive', 10);
  const asked: string[] = [];
  catalog.jobs.free(({ leased_by }) => {
    asked.push(leased_by);
    return leased_by === 'dead';
  });
  expect(asked.toSorted()).toEqual(['alive', 'dead']);
  expect(all(catalog).map(({ leased_by }) => leased_by)).toEqual([null, 'alive', null]);
  catalog.jobs.dropUnleased(refOf(1));
  catalog.jobs.dropUnleased(refOf(2));
  expect(all(catalog).map(({ version }) => version)).toEqual([2, 3]);
});

test('a job is obsolete once its generation is not stored, or more was owed for it; a deletion never', async () => {
  const catalog = await openCatalog();
  catalog.jobs.add(refOf(1), 'upload', 10);
  const job = only(catalog);
  expect(isObsolete(catalog, job)).toBe(false);
  catalog.jobs.add(refOf(1), 'reserve', 10);
  expect(isObsolete(catalog, job)).toBe(true);
  expect(isObsolete(catalog, { ...job, step: 'delete' })).toBe(false);
  expect(isObsolete(catalog, { ...job, id: 99, version: 77 })).toBe(true);
});

test('all is owed again, page by page, of one project or of all', async () => {
  const catalog = await openCatalog(3);
  finishSave(catalog, refOf(1, 'q'), FACTS, SAVED_AT, 0);
  catalog.jobs.dropAll(refOf(1, 'q'));
  expect(oweAllAgain(catalog, 'q', null, 50)).toEqual({ count: 1, next: null });
  expect(all(catalog)).toMatchObject([{ project_id: 'q', step: 'reserve', due_at: 50 }]);
  expect(oweAllAgain(catalog, null, null, 60)).toEqual({ count: 4, next: null });
  expect(all(catalog)).toHaveLength(4);
});

const failing = (code: ErrorCode, options = {}) => new StorageError(code, 'Cannot', options);

test.each<[string, unknown, string[]]>([
  // At the first failure, at the fourth, at the fifth.
  ['what may pass', failing('unavailable', { retryable: true }), ['failed', 'failed', 'failed']],
  ['a full disk', failing('disk_full'), ['failed', 'failed', 'failed']],
  ['what is refused for good', failing('too_large'), ['refused', 'refused', 'refused']],
  ['wrong bytes', failing('corrupt', { retryable: true }), ['failed', 'failed', 'refused']],
  [
    'a conflict that may pass',
    failing('conflict', { retryable: true }),
    ['failed', 'failed', 'refused'],
  ],
  ['a conflict', failing('conflict'), ['refused', 'refused', 'refused']],
  ['a mistake of ours', new TypeError('x is not a function'), ['failed', 'failed', 'refused']],
])('%s is tried again as often as it may help', (_, reason, expected) => {
  const outcomes = (count: 'attempts' | 'setbacks') =>
    [0, 3, 4].map((times) => {
      const job = { attempts: 0, setbacks: 0, [count]: times } as unknown as Job;
      return outcomeOf(job, { status: 'rejected', reason }).outcome;
    });
  expect(outcomes('attempts')).toEqual(expected);
  expect(outcomes('setbacks')).toEqual(expected);
});
