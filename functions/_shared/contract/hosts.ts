/** The shapes of what a host asks of the function `hosts`, and is answered. */
import * as v from 'valibot';
import { id } from './api.ts';
import { DIGEST_PATTERN } from './digest.ts';
import { MAX_VERSION } from './ids.ts';
import { HOST_LIMITS, URL_EXPIRY } from './limits.ts';
import {
  ActiveGenerationSchema,
  CheckInSchema,
  CloudChangeSchema,
  CloudGenerationSchema,
  CloudProjectSchema,
  CloudRowSchema,
  RecordOutcomeSchema,
  ReserveOutcomeSchema,
  UnneededSchema,
} from './outcomes.ts';

// What goes in --------------------------------------------------------------------------------

const whole = (min: number, max: number) =>
  v.pipe(
    v.number('a number'),
    v.integer('a whole number'),
    v.minValue(min, `at least ${min}`),
    v.maxValue(max, `at most ${max}`),
  );
const version = whole(1, MAX_VERSION);
const amount = v.nullable(whole(0, Number.MAX_SAFE_INTEGER));
const text = (max: number) => v.pipe(v.string(), v.maxLength(max, `at most ${max} characters`));
const hex = (digits: number) =>
  v.pipe(v.string(), v.regex(new RegExp(`^[0-9a-f]{${digits}}$`), `${digits} hexadecimal digits`));
const digest = v.pipe(v.string(), v.regex(DIGEST_PATTERN, 'a digest has 64 hexadecimal digits'));
const time = v.pipe(v.string(), v.isoTimestamp('a time in ISO 8601'));
const key = text(512);
const hostId = v.pipe(
  v.string(),
  v.uuid('a UUID'),
  v.description('Of the agent: several may have one key.'),
);
const items = <T extends v.GenericSchema>(item: T) =>
  v.pipe(
    v.array(item),
    v.minLength(1, 'at least one'),
    v.maxLength(HOST_LIMITS.batch, `at most ${HOST_LIMITS.batch}`),
  );
const limit = v.optional(whole(1, HOST_LIMITS.page), HOST_LIMITS.page);

/** What names a version. */
const named = { project_id: id, version };

const sentKey = v.optional(
  v.pipe(v.nullable(key), v.description('Where it was sent to, as far as the host knows.')),
  null,
);

export const ReserveBodySchema = v.object({
  host_id: hostId,
  items: items(
    v.object({
      ...named,
      generation_id: id,
      digest: v.nullable(digest),
      sha256: hex(64),
      md5: v.nullable(hex(32)),
      archive_bytes: amount,
      source_bytes: amount,
      file_count: v.nullable(whole(0, MAX_VERSION)),
      created_at: time,
      owner_id: v.nullable(v.pipe(v.string(), v.uuid('a UUID'))),
      sent_key: sentKey,
      undeleted_at: v.optional(
        v.pipe(v.nullable(time), v.description('When you undid a deletion of it last.')),
        null,
      ),
    }),
  ),
});

export const UploadsBodySchema = v.object({ object_keys: items(key) });

const archived = { ...named, object_key: key };
export const RecordBodySchema = v.object({
  items: items(
    v.variant('status', [
      v.object({
        ...archived,
        status: v.picklist(['uploaded', 'verified']),
        digest: v.nullable(digest),
        sha256: hex(64),
        md5: v.nullable(hex(32)),
        manifest: v.nullable(v.record(v.string(), v.unknown())),
        block_index: v.nullable(v.record(v.string(), v.unknown())),
      }),
      v.object({ ...archived, status: v.literal('damaged') }),
      v.object({
        ...named,
        status: v.literal('failed'),
        generation_id: id,
        digest: v.nullable(digest),
        reason: text(1000),
      }),
    ]),
  ),
});

export const FindBodySchema = v.object({
  items: items(
    v.object({
      project_id: id,
      version: v.pipe(
        v.nullable(version),
        v.description('`null`: which is the highest that is taken.'),
      ),
      generation_id: v.optional(v.nullable(id), null),
    }),
  ),
});

export const ListBodySchema = v.variant('of', [
  v.object({
    of: v.literal('projects'),
    after: v.optional(text(128), ''),
    only: v.optional(v.nullable(id), null),
    limit,
  }),
  v.object({
    of: v.literal('generations'),
    project_id: id,
    after: v.optional(whole(0, MAX_VERSION), 0),
    limit,
  }),
]);

export const HostDownloadBodySchema = v.object({
  items: items(
    v.object({
      ...named,
      object_key: v.optional(v.nullable(key), null),
    }),
  ),
  expires_in: v.optional(
    v.pipe(whole(1, URL_EXPIRY.max), v.description('Seconds.')),
    URL_EXPIRY.default,
  ),
  filename: v.optional(
    v.pipe(v.nullable(text(300)), v.description('What a browser saves it as.')),
    null,
  ),
});

export const ChangesBodySchema = v.variant('of', [
  v.object({
    of: v.literal('generations'),
    after: v.optional(whole(0, Number.MAX_SAFE_INTEGER), 0),
    limit,
  }),
  v.object({
    of: v.literal('active'),
    after: v.optional(v.nullable(v.object({ noted_at: text(64), project_id: text(128) })), null),
    limit,
  }),
]);

export const HostDeleteBodySchema = v.object({
  ...named,
  generation_id: id,
  host_id: hostId,
  digests: v.pipe(
    v.nullable(v.pipe(v.array(digest), v.maxLength(16, 'at most 16'))),
    v.description('Of the content that is deleted; `null`: whatever it is.'),
  ),
  sent_key: sentKey,
  md5: v.optional(v.nullable(hex(32)), null),
  sha256: v.optional(v.nullable(hex(64)), null),
  deleted_at: v.nullable(time),
  epoch: whole(0, MAX_VERSION),
});

export const HostUndeleteBodySchema = v.object({
  ...named,
  generation_id: v.nullable(id),
  digest: v.nullable(digest),
  host_id: v.optional(
    v.pipe(
      v.nullable(hostId),
      v.description('Where you have undone a deletion of yours, which may still be on its way.'),
    ),
    null,
  ),
});

export const PurgeBodySchema = v.object({ limit });

export const OwnerBodySchema = v.object({
  project_id: id,
  owner_id: v.pipe(v.string(), v.uuid('a UUID')),
});

export const ActivateBodySchema = v.object({ ...named, generation_id: id, at: time });

const scratchName = v.pipe(v.string(), v.uuid('a UUID'));
export const ScratchBodySchema = v.variant('do', [
  v.object({ do: v.literal('begin') }),
  v.object({ do: v.literal('sign'), name: scratchName }),
  v.object({ do: v.literal('end'), name: scratchName }),
]);

export const CheckBodySchema = v.object({
  host_id: v.optional(v.nullable(hostId), null),
  count: v.optional(whole(0, Number.MAX_SAFE_INTEGER), 0),
});

// What comes out ------------------------------------------------------------------------------

const listOf = <T extends v.GenericSchema>(item: T) => v.object({ items: v.array(item) });
const of = { project_id: v.string(), version: v.number() };

/** What an archive may be sent with, to its own key alone, and never over what is there. */
export const UploadTokenSchema = v.object({
  bucket: v.string(),
  object_key: v.string(),
  token: v.string(),
  expires_at: v.string(),
  /** Of one object; `null`: that of the project. */
  limit_bytes: v.nullable(v.number()),
});

export const ReservedSchema = listOf(
  v.intersect([
    v.object({ ...of, bucket: v.string(), upload: v.nullable(UploadTokenSchema) }),
    ReserveOutcomeSchema,
  ]),
);
export const UploadTokensSchema = listOf(UploadTokenSchema);
export const RecordedSchema = listOf(
  v.intersect([
    v.object(of),
    v.union([
      RecordOutcomeSchema,
      v.object({
        outcome: v.picklist(['recorded', 'other']),
        unneeded: v.optional(UnneededSchema),
      }),
    ]),
  ]),
);
export const FoundSchema = listOf(
  v.object({
    project_id: v.string(),
    version: v.nullable(v.number()),
    row: v.nullable(CloudRowSchema),
    /** Where no version was named; 0: none. */
    highest_version: v.nullable(v.number()),
  }),
);
export const ListedSchema = v.object({
  items: v.union([v.array(CloudProjectSchema), v.array(CloudGenerationSchema)]),
});
export const DownloadsSchema = listOf(
  v.object({
    ...of,
    /** `null` where there is none, or none that the host may read. */
    object_key: v.nullable(v.string()),
    bucket: v.optional(v.string()),
    etag: v.optional(v.nullable(v.string())),
    bytes: v.optional(v.nullable(v.number())),
    /** That was sent with it. */
    sha256: v.optional(v.nullable(v.string())),
    url: v.optional(v.string()),
  }),
);
export const ChangedSchema = v.object({
  items: v.array(CloudChangeSchema),
  /** The number up to which there is nothing else for the host: to go on after. */
  through: v.number(),
  has_more: v.boolean(),
});
export const ChangedActiveSchema = v.object({ items: v.array(ActiveGenerationSchema) });

export const ScratchSchema = v.object({
  name: v.string(),
  /** Of one that was begun. */
  upload: v.optional(v.nullable(UploadTokenSchema)),
  /** Of one that is to be signed; `null` where it is not there. */
  url: v.optional(v.nullable(v.string())),
});

/** What a key opens. */
export const HostCheckSchema = v.object({
  name: v.string(),
  read: v.picklist(['own', 'all']),
  delete: v.picklist(['none', 'own']),
  bucket: v.string(),
  /** When the key ends; `null`: it does not. */
  expires_at: v.nullable(v.string()),
  /** Where the agent said its id. */
  ...v.partial(CheckInSchema).entries,
});
