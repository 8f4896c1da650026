/** The shapes of what the Edge API says of deletions, and of undoing them: as those in `api.ts`. */
import * as v from 'valibot';
import { bytes, count, GenerationSchema, id, LISTED_STATUSES, ProjectSchema, time } from './api.ts';

const until = v.nullable(
  v.pipe(time, v.description('Until when it can be undone; null where it cannot.')),
);

export const DeletedGenerationSchema = v.object({
  project_id: id,
  version: count,
  generation_id: id,
  status: v.literal('deleted'),
  undelete_until: until,
});
export type DeletedGeneration = v.InferOutput<typeof DeletedGenerationSchema>;

export const DeletedProjectSchema = v.object({
  project_id: id,
  status: v.literal('deleted'),
  undelete_until: until,
});
export type DeletedProject = v.InferOutput<typeof DeletedProjectSchema>;

export const UndeletedGenerationSchema = v.object({
  project_id: id,
  version: count,
  generation_id: id,
  status: v.picklist(LISTED_STATUSES),
  digest: v.nullable(v.string()),
});
export type UndeletedGeneration = v.InferOutput<typeof UndeletedGenerationSchema>;

export const UndeletedProjectSchema = v.object({
  project_id: id,
  versions: v.pipe(count, v.description('How many came back with it.')),
});
export type UndeletedProject = v.InferOutput<typeof UndeletedProjectSchema>;

/** What a generation held before something else took its place. */
export const ReplacedContentSchema = v.object({
  digest: v.string(),
  created_at: v.nullable(time),
  replaced_at: time,
  undelete_until: time,
  file_count: v.nullable(count),
  source_bytes: v.nullable(bytes),
  archive_bytes: v.nullable(bytes),
});

/** A generation that is deleted, or that held something else before. */
export const UndeletableGenerationSchema = v.object({
  ...GenerationSchema.entries,
  status: v.picklist([...LISTED_STATUSES, 'deleted']),
  deleted_at: v.nullable(time),
  undelete_until: v.nullable(time),
  replaced: v.pipe(
    v.array(ReplacedContentSchema),
    v.description('What it held before, the last first.'),
  ),
});
export type UndeletableGeneration = v.InferOutput<typeof UndeletableGenerationSchema>;

/** A deleted project; `versions` counts those that come back with it. */
export const UndeletableProjectSchema = v.object({
  ...ProjectSchema.entries,
  deleted_at: time,
  undelete_until: time,
});
export type UndeletableProject = v.InferOutput<typeof UndeletableProjectSchema>;
