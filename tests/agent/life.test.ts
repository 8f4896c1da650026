/** The life of a job: every cell of its table, as the catalog has it after. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { writeLife } from '../../docs/write-life.ts';
import { Catalog } from '../../node-agent/catalog/catalog.ts';
import { markDeleted } from '../../node-agent/catalog/deleting.ts';
import { type Job, STEPS, type Step } from '../../node-agent/catalog/jobs.ts';
import { finishReplace, finishSave } from '../../node-agent/catalog/saving.ts';
import { StorageError } from '../../node-agent/contract.ts';
import { LIFE, type Next, OUTCOMES, type Outcome } from '../../node-agent/upload/life.ts';
import { outcomeOf, settle } from '../../node-agent/upload/settle.ts';
import { ROOT } from '../support/run.ts';
import { tempFolder } from '../support/temp.ts';

const REF = { projectId: 'p', version: 1, generationId: 'g' };
const SAVED_AT = '2026-01-01T00:00:00.000Z';
const FACTS = {
  ...{ digest: 'd', sha256: 's', md5: 'm', archiveBytes: 1, sourceBytes: 1, fileCount: 1 },
  ownerId: null,
  isReplacement: false,
};
const NOW = 1_000_000;
const OPTIONS = { now: NOW, random: 1, waits: true };

const cells = STEPS.flatMap((step) =>
  OUTCOMES.map((outcome): [Step, Outcome, Next] => [step, outcome, LIFE[step][outcome]]),
);

describe('what comes after a step is what the table says', () => {
  test.each(cells)('%s, %s', async (step, outcome, next) => {
    const catalog = await openCatalog();
    const job = leaseJob(catalog, step);
    const isWell = outcome !== 'failed' && outcome !== 'refused' && outcome !== 'missing';
    const because = isWell ? null : new StorageError('unavailable', 'Cannot do it: it is away');
    settle(catalog, job, { outcome, because }, OPTIONS);

    const [after] = catalog.jobs.list(0, 10);
    const { status, failure } = catalog.generations.find('p', 1)!;
    if (next === 'end') expect(after).toBeUndefined();
    else expect(after).toMatchObject({ id: job.id, leased_by: null });
    if (next === 'park') expect(after).toMatchObject({ step, parked: 1, due_at: job.due_at });
    if (next === 'give_up') {
      expect(after).toMatchObject({ step: 'fail', given_up_at: step, parked: 0, attempts: 0 });
      expect({ status, failure }).toEqual({ status: 'failed', failure: because?.message });
    } else expect(status).toBe('pending');
    if (typeof next === 'string') return;
    if ('go' in next) {
      expect(after).toMatchObject({ step: next.go, parked: 0, attempts: 0, due_at: NOW });
    } else {
      expect(after).toMatchObject({ step: next.again, parked: 0, attempts: job.attempts + 1 });
      expect(after!.due_at).toBeGreaterThan(NOW);
      expect(after!.failure).toBe(because === null ? (job.failure ?? '') : because.message);
    }
  });
});

test('whatever is owed can come to its end, and a deletion never becomes an upload', () => {
  for (const step of STEPS) {
    const reached = reachableFrom(step);
    expect(reached, step).toContain(step === 'fail' ? 'park' : 'end');
    if (step === 'delete') expect(reached).toEqual(new Set(['delete', 'end', 'park']));
    else expect(reached, step).not.toContain('delete');
  }
  expect(reachableFrom('reserve')).toEqual(
    new Set(['reserve', 'upload', 'record', 'verify', 'fail', 'end', 'park']),
  );
});

test('what is replaced or deleted meanwhile has nothing owed but that', async () => {
  for (const outcome of OUTCOMES) {
    const catalog = await openCatalog();
    const job = leaseJob(catalog, 'upload');
    finishReplace(catalog, REF, { ...FACTS, digest: 'other' }, SAVED_AT, NOW);
    settle(catalog, job, { outcome, because: null }, OPTIONS);
    expect(stepsOf(catalog), outcome).toEqual(['reserve']);
    markDeleted(catalog, REF, SAVED_AT, NOW);
    expect(stepsOf(catalog), outcome).toEqual(['delete']);
  }
});

test('wrong bytes, again and again, are given up; a cloud that is away never is', async () => {
  const catalog = await openCatalog();
  const because = new StorageError('corrupt', 'Cannot verify: other bytes', { retryable: true });
  const outcomes: Outcome[] = [];
  for (let i = 0; i < 5; i++) {
    const job = leaseJob(catalog, 'verify');
    const settled = outcomeOf(
      { ...job, setbacks: i },
      { status: 'fulfilled', value: { outcome: 'missing', because } },
    );
    outcomes.push(settled.outcome);
  }
  expect(outcomes).toEqual(['missing', 'missing', 'missing', 'missing', 'refused']);
});

test('the README of the room has the table as `npm run docs` draws it', () => {
  const readme = readFileSync(join(ROOT, 'node-agent/upload/README.md'), 'utf8');
  expect(readme).toBe(writeLife(readme));
});

async function openCatalog(): Promise<Catalog> {
  const catalog = new Catalog(join(await tempFolder(), 'catalog.sqlite'));
  onTestFinished(() => catalog.close());
  finishSave(catalog, REF, FACTS, SAVED_AT, 0);
  return catalog;
}

/** The one job of the generation, at a step, worked on. */
function leaseJob(catalog: Catalog, step: Step): Job {
  const [job] = catalog.jobs.list(0, 1);
  if (job !== undefined) catalog.jobs.end(job);
  catalog.jobs.add(REF, step, 0);
  return catalog.jobs.claim([step], 1, 'instance', NOW)[0]!;
}

function stepsOf(catalog: Catalog): Step[] {
  return catalog.jobs.list(0, 10).map(({ step }) => step);
}

function reachableFrom(step: Step): Set<string> {
  const reached = new Set<string>([step]);
  const waiting: Step[] = [step];
  for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
    for (const next of Object.values(LIFE[at])) {
      const to = typeof next === 'string' ? next : 'go' in next ? next.go : next.again;
      const name = to === 'give_up' ? 'fail' : to;
      if (reached.has(name)) continue;
      reached.add(name);
      if (name !== 'end' && name !== 'park') waiting.push(name);
    }
  }
  return reached;
}
