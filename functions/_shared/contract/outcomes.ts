/** What our SQL functions answer to a host, and so the function `hosts`. Anything else is not their word. */
import * as v from 'valibot';

export const UnneededSchema = v.array(v.object({ bucket: v.string(), object_key: v.string() }));
const unneeded = UnneededSchema;
const inCloud = v.picklist(['uploaded', 'verified']);

export const ReserveOutcomeSchema = v.variant('outcome', [
  v.object({
    outcome: v.literal('reserved'),
    status: v.picklist(['pending', 'uploaded', 'verified']),
    /** Of what is there, or is to be uploaded. */
    sha256: v.nullable(v.string()),
    object_key: v.string(),
    owner_id: v.nullable(v.string()),
    unneeded,
  }),
  v.object({
    outcome: v.literal('conflict'),
    /** What is at odds: the version is another generation's, the name holds other content … */
    cause: v.picklist(['version', 'content', 'owner', 'project']),
    reason: v.string(),
    owner_id: v.optional(v.string()),
    unneeded: v.optional(unneeded),
  }),
  v.object({
    outcome: v.literal('superseded'),
    reason: v.string(),
    digest: v.nullable(v.string()),
    unneeded,
  }),
  v.object({ outcome: v.literal('deleted'), unneeded }),
]);

/** Something else was there first. */
const late = {
  digest: v.nullable(v.string()),
  sha256: v.nullable(v.string()),
  object_key: v.string(),
  status: v.string(),
  unneeded,
};

export const RecordOutcomeSchema = v.variant('outcome', [
  v.object({ outcome: v.literal('recorded'), status: inCloud, unneeded }),
  v.object({ outcome: v.literal('known'), ...late, status: inCloud }),
  v.object({ outcome: v.literal('superseded'), ...late }),
  v.object({ outcome: v.literal('deleted'), ...late }),
  v.object({ outcome: v.picklist(['missing', 'absent']) }),
]);

export const DeletionOutcomeSchema = v.variant('outcome', [
  v.object({
    outcome: v.literal('recorded'),
    epoch: v.number(),
    /** Until when it can be undone; `null`: not at all. */
    undelete_until: v.nullable(v.string()),
    /** Whether its content is kept until then. */
    kept: v.boolean(),
    unneeded,
  }),
  /** It was undone since. */
  v.object({ outcome: v.literal('undeleted'), epoch: v.number() }),
  v.object({ outcome: v.literal('other') }),
]);

export const DamageOutcomeSchema = v.variant('outcome', [
  v.object({ outcome: v.literal('recorded'), unneeded }),
  v.object({ outcome: v.literal('other') }),
]);

/** `live`: there is nothing to undo; `no_content`: it never held that, or it is purged. */
export const UndeletionOutcomeSchema = v.variant('outcome', [
  v.object({
    outcome: v.picklist(['undeleted', 'live']),
    generation_id: v.string(),
    epoch: v.number(),
  }),
  v.object({ outcome: v.literal('purged'), epoch: v.number() }),
  v.object({ outcome: v.literal('no_content') }),
  v.object({ outcome: v.literal('missing') }),
]);

export const PurgeOutcomeSchema = v.object({
  generations: v.number(),
  /** Of generations that hold something else since. */
  contents: v.number(),
  objects: unneeded,
});

export const FailureOutcomeSchema = v.object({ outcome: v.picklist(['recorded', 'other']) });
export const RemovalOutcomeSchema = v.object({
  outcome: v.literal('recorded'),
  freed_bytes: v.number(),
});

/** `known`: it is that already; `missing`: there is no such project, or it is deleted. */
export const OwnerOutcomeSchema = v.object({
  outcome: v.picklist(['set', 'known', 'conflict', 'missing']),
  owner_id: v.optional(v.string()),
});

/** `older`: the database knows less than this host; `count` is what it is told the next time. */
export const CheckInSchema = v.object({
  outcome: v.picklist(['known', 'older']),
  count: v.number(),
  /** The number that the last change has. */
  last_change: v.number(),
});

/** What was deleted, undeleted, purged or replaced in the cloud, as it is now. */
export const CloudChangeSchema = v.object({
  number: v.number(),
  project_id: v.string(),
  version: v.number(),
  generation_id: v.string(),
  status: v.picklist(['pending', 'uploaded', 'verified', 'failed', 'deleted']),
  digest: v.nullable(v.string()),
  epoch: v.number(),
  /** Until when it can be undone; `null` where it is not deleted, or cannot. */
  purge_at: v.nullable(v.string()),
});

/** The row of a generation, as far as reading it needs. */
export const CloudRowSchema = v.object({
  project_id: v.string(),
  version: v.number(),
  generation_id: v.string(),
  bucket: v.string(),
  object_key: v.string(),
  status: v.picklist(['pending', 'uploaded', 'verified', 'failed', 'deleted']),
  digest: v.nullable(v.string()),
  sha256: v.nullable(v.string()),
  archive_bytes: v.nullable(v.number()),
  epoch: v.number(),
});

/** A project, as the database knows it. */
export const CloudProjectSchema = v.object({
  project_id: v.string(),
  owner_id: v.nullable(v.string()),
  is_deleted: v.boolean(),
  active_version: v.nullable(v.number()),
  /** How many generations the cloud has, and the bytes of their archives. */
  versions: v.number(),
  bytes: v.number(),
  /** How many the database knows of: deleted ones, and those on their way, too. */
  known: v.number(),
  latest_version: v.number(),
});

/** A generation, as the database knows it. */
export const CloudGenerationSchema = v.object({
  ...CloudRowSchema.entries,
  failure: v.nullable(v.string()),
  source_bytes: v.nullable(v.number()),
  file_count: v.nullable(v.number()),
  created_at: v.string(),
  uploaded_at: v.nullable(v.string()),
  deleted_at: v.nullable(v.string()),
  /** Until when a deletion can be undone; `null` where it cannot. */
  purge_at: v.nullable(v.string()),
});

export const ActivationOutcomeSchema = v.variant('outcome', [
  v.object({ outcome: v.literal('set'), activated_at: v.string() }),
  v.object({ outcome: v.picklist(['later', 'missing']) }),
]);

/** Which version is active: when that was said, and when the database noted it, in its own text. */
export const ActiveGenerationSchema = v.object({
  project_id: v.string(),
  version: v.number(),
  generation_id: v.string(),
  activated_at: v.string(),
  noted_at: v.string(),
});
