/** What is owed to the cloud again, and what is given up. */
import type { Ref } from '../contract.ts';
import type { Catalog } from './catalog.ts';
import { type Position, refOf } from './generation-row.ts';
import { BEFORE_ALL, PAGE_ROWS } from './generations.ts';
import type { Job } from './jobs.ts';

/** Owes a stored generation to the cloud again: what it has of it is asked for. */
export function oweAgain({ jobs }: Catalog, ref: Ref, now: number): void {
  jobs.owe(ref, 'reserve', now);
}

/**
 * Owes everything again, some at a time: what is stored, and what was deleted.
 *
 * @param only one project; `null`: all
 * @returns where it goes on; `null` at the end
 */
export function oweAllAgain(
  catalog: Catalog,
  only: string | null,
  after: Position | null,
  now: number,
): { count: number; next: Position | null } {
  const { generations, jobs } = catalog;
  return catalog.transaction(() => {
    const rows = generations.pageForCloud(only, after ?? BEFORE_ALL);
    for (const row of rows) {
      jobs.owe(refOf(row), row.state === 'deleted' ? 'delete' : 'reserve', now);
    }
    const last = rows.length < PAGE_ROWS ? undefined : rows.at(-1);
    const next = last === undefined ? null : { projectId: last.project_id, version: last.version };
    return { count: rows.length, next };
  });
}

/** Gives up an upload that cannot succeed as things are: the cloud is told of it. */
export function giveUp(catalog: Catalog, job: Job, failure: string, now: number): void {
  catalog.transaction(() => {
    catalog.jobs.giveUp(job, failure, now);
    const ref = { projectId: job.project_id, version: job.version };
    catalog.generations.update(ref, { status: 'failed', failure });
  });
}

/**
 * Has tried again what was given up, and what waits at once.
 *
 * @param projectId of one project; `null`: all
 * @returns how many were given up
 */
export function retryGivenUp(
  catalog: Catalog,
  now: number,
  projectId: string | null = null,
): number {
  const { generations, jobs } = catalog;
  return catalog.transaction(() => {
    const restarted = jobs.restart(now, projectId);
    for (const job of restarted) {
      const row = generations.find(job.project_id, job.version);
      if (row?.status !== 'failed') continue;
      const status = row.uploaded_at === null ? 'pending' : 'uploaded';
      generations.update(refOf(row), { status, failure: null });
    }
    return restarted.length;
  });
}

/**
 * Whether nothing is owed for a job any more: once a generation is deleted, only its deletion is;
 * once it is replaced, only what is owed for the replacement, which waits behind.
 */
export function isObsolete({ generations, jobs }: Catalog, job: Job): boolean {
  if (job.step === 'delete') return false;
  if (generations.find(job.project_id, job.version)?.state !== 'stored') return true;
  return jobs.hasLater(job);
}
