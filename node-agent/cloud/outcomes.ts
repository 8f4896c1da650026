/** What the database says came of what it was asked. */
import type * as v from 'valibot';
import type {
  CloudChangeSchema,
  CloudRowSchema,
  DamageOutcomeSchema,
  DeletionOutcomeSchema,
  PurgeOutcomeSchema,
  RecordOutcomeSchema,
  ReserveOutcomeSchema,
  UndeletionOutcomeSchema,
  UnneededSchema,
} from '../contract.ts';
import { StorageError } from '../contract.ts';

/** Our migrations are not applied. */
export type NoDatabase = { outcome: 'no_database' };

export type ReserveOutcome = v.InferOutput<typeof ReserveOutcomeSchema> | NoDatabase;
export type RecordOutcome = v.InferOutput<typeof RecordOutcomeSchema> | NoDatabase;
export type DamageOutcome = v.InferOutput<typeof DamageOutcomeSchema> | NoDatabase;
export type DeletionOutcome = v.InferOutput<typeof DeletionOutcomeSchema> | NoDatabase;
export type Purged = v.InferOutput<typeof PurgeOutcomeSchema>;
export type UndeletionOutcome = v.InferOutput<typeof UndeletionOutcomeSchema> | NoDatabase;
/** What was deleted, undeleted, purged or replaced in the cloud, as it is now. */
export type CloudChange = v.InferOutput<typeof CloudChangeSchema>;
export type CloudRow = v.InferOutput<typeof CloudRowSchema>;
export type UnneededObject = v.InferOutput<typeof UnneededSchema>[number];

/** What a database answers that has our tables. @throws StorageError `not_found` of one that has not */
export function found<T extends object>(
  answer: T | NoDatabase,
  doing: string,
): Exclude<T, NoDatabase> {
  if ('outcome' in answer && answer.outcome === 'no_database') {
    const state = 'the database has none of our tables. Push the migrations';
    throw new StorageError('not_found', `Cannot ${doing}: ${state}`);
  }
  return answer as Exclude<T, NoDatabase>;
}
