import type { Catalog } from '../catalog/catalog.ts';
import { refOf } from '../catalog/generation-row.ts';
import type { OwedJob } from '../catalog/jobs.ts';
import { PAGE, type Ref } from '../contract.ts';
import { type ListPage, toPage } from '../read/list.ts';

/** A step that is owed to the cloud. */
export type OwedUpload = Readonly<
  Ref & {
    step: 'reserve' | 'upload' | 'record' | 'verify' | 'delete' | 'undelete';
    /** From when on it is owed. */
    since: string;
    attempts: number;
    /** When it is tried next; `null` where it is parked. */
    dueAt: string | null;
    parked: boolean;
    /** Why the last attempt failed. */
    failure: string | null;
  }
>;

/** What is owed to the cloud, oldest first. */
export function listOwed(
  { jobs }: Catalog,
  options: { limit?: number; cursor?: number },
): ListPage<OwedUpload, number> {
  const limit = options.limit ?? PAGE.default;
  const owed = jobs.list(options.cursor ?? 0, limit + 1);
  const page = toPage(owed, limit, ({ id }) => id);
  return { ...page, items: page.items.map(toOwed) };
}

/** A job as it is shown. */
export function toOwed(job: OwedJob): OwedUpload {
  return {
    ...refOf(job),
    step: stepOf(job),
    since: new Date(job.since).toISOString(),
    attempts: job.attempts,
    dueAt: job.parked ? null : new Date(job.due_at).toISOString(),
    parked: job.parked === 1,
    failure: job.failure,
  };
}

/** Of what was given up, the step at which it was. */
function stepOf({ step: at, given_up_at: givenUpAt }: OwedJob): OwedUpload['step'] {
  const step = givenUpAt ?? at;
  return step === 'fail' ? 'reserve' : step;
}
