import { type GenerationRow, refOf } from '../catalog/catalog.ts';
import type { Job } from '../catalog/jobs.ts';
import type { RecordOutcome, ReserveOutcome } from '../cloud/outcomes.ts';
import type { Recording, Reservation } from '../cloud/records.ts';
import { withRetryAfter } from '../cloud/retry-after.ts';
import { confirm } from './confirm.ts';
import type { Next, Work } from './outbox.ts';
import type { Parts } from './parts.ts';
import { put } from './put.ts';
import { record } from './record.ts';
import { remove } from './remove.ts';
import { reserve } from './reserve.ts';
import { together } from './together.ts';
import { verify } from './verify.ts';

/** The steps that bring a generation to the cloud, and out of it. Each may be repeated. */
export function createWork(parts: Parts): Work {
  const { catalog, records, store, scan } = parts;

  return async (batch) => {
    for (const job of batch) await scan.project(job.project_id);
    return withRetryAfter<PromiseSettledResult<Next>[]>(() => {
      switch (batch[0]!.kind) {
        case 'reserve':
          return together<Job, Reservation, ReserveOutcome, Next>(
            batch,
            (asked) => records.reserveAll(asked),
            async (job, ask) => {
              const row = findStored(job);
              if (row === null) return null;
              return store.has(refOf(row)) ? reserve(parts, row, ask) : 'verify';
            },
          );
        case 'record':
          return together<Job, Recording, RecordOutcome, Next>(
            batch,
            (asked) => records.recordAll(asked),
            async (job, ask) => {
              const row = findStored(job);
              if (row === null) return null;
              return store.has(refOf(row)) ? record(parts, row, job, ask) : 'verify';
            },
          );
        default:
          return Promise.allSettled(batch.map(workAlone));
      }
    });
  };

  async function workAlone(job: Job): Promise<Next> {
    if (job.kind === 'delete') {
      const row = catalog.find(job.project_id, job.version);
      return row?.state === 'deleted' ? remove(parts, row) : null;
    }
    const row = findStored(job);
    if (row === null) return null;
    // Taken out of the store: there is nothing to send, and much to ask.
    if (job.kind !== 'fail' && !store.has(refOf(row))) return confirm(parts, row);
    if (job.kind === 'upload') return put(parts, row, job);
    if (job.kind === 'verify') return verify(parts, row);
    await records.recordFailure(refOf(row), row.digest, job.failure ?? 'its upload was given up');
    return 'parked';
  }

  function findStored(job: Job): GenerationRow | null {
    const row = catalog.find(job.project_id, job.version);
    return row?.state === 'stored' ? row : null;
  }
}
