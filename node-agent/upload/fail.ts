import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import type { Job } from '../catalog/jobs.ts';
import type { StepResult } from './life.ts';
import type { Parts } from './parts.ts';

/**
 * Says in the cloud why an upload was given up: the web user sees it there. After which failure that
 * is stands in `retries.ts`.
 */
export async function fail(
  { records }: Pick<Parts, 'records'>,
  row: GenerationRow,
  job: Job,
): Promise<StepResult> {
  await records.recordFailure(refOf(row), row.digest, job.failure ?? 'its upload was given up');
  return 'done';
}
