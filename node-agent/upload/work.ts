import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import type { Job } from '../catalog/jobs.ts';
import type { RecordOutcome, ReserveOutcome } from '../cloud/outcomes.ts';
import type { Recording, Reservation } from '../cloud/recording.ts';
import { confirm } from './confirm.ts';
import { deleteInCloud } from './delete.ts';
import { fail } from './fail.ts';
import type { StepResult } from './life.ts';
import type { Work } from './outbox.ts';
import type { Parts } from './parts.ts';
import { record } from './record.ts';
import { reserve } from './reserve.ts';
import { together } from './together.ts';
import { undeleteInCloud } from './undelete.ts';
import { upload } from './upload.ts';
import { verify } from './verify.ts';

/** The steps that bring a generation to the cloud, and out of it. Each may be repeated. */
export function createWork(parts: Parts): Work {
  const { catalog, records, store, scan } = parts;

  return async (batch) => {
    for (const job of batch) await scan.project(job.project_id);
    switch (batch[0]!.step) {
      case 'reserve':
        return together<Job, Reservation, ReserveOutcome, StepResult>(
          batch,
          (asked) => records.reserveAll(asked),
          async (job, ask) => {
            const row = findStored(job);
            if (row === null) return 'obsolete';
            return store.has(refOf(row)) ? reserve(parts, row, ask) : 'there';
          },
        );
      case 'record':
        return together<Job, Recording, RecordOutcome, StepResult>(
          batch,
          (asked) => records.recordAll(asked),
          async (job, ask) => {
            const row = findStored(job);
            if (row === null) return 'obsolete';
            return store.has(refOf(row)) ? record(parts, row, job, ask) : 'there';
          },
        );
      default:
        return Promise.allSettled(batch.map(workAlone));
    }
  };

  async function workAlone(job: Job): Promise<StepResult> {
    if (job.step === 'delete') {
      const row = catalog.generations.find(job.project_id, job.version);
      return row?.state === 'deleted' ? deleteInCloud(parts, row) : 'obsolete';
    }
    const row = findStored(job);
    if (row === null) return 'obsolete';
    if (job.step === 'undelete') return undeleteInCloud(parts, row);
    // Taken out of the store: there is nothing to send, and much to ask.
    if (job.step !== 'fail' && !store.has(refOf(row))) return confirm(parts, row);
    if (job.step === 'upload') return upload(parts, row, job);
    return job.step === 'verify' ? verify(parts, row) : fail(parts, row, job);
  }

  function findStored(job: Job): GenerationRow | null {
    const row = catalog.generations.find(job.project_id, job.version);
    return row?.state === 'stored' ? row : null;
  }
}
