/** The shapes of the Edge API's JSON. Names are snake_case, sizes bytes, times ISO 8601 UTC. */
import * as v from 'valibot';
import { DIGEST_PATTERN } from './digest.ts';
import { ERROR_CODES, type ErrorCode } from './errors.ts';
import { ID_PATTERN, MAX_VERSION } from './ids.ts';
import { FILES_PAGE, PAGE } from './limits.ts';
import { pathProblem } from './paths.ts';
import type { Status } from './status.ts';

// What goes in --------------------------------------------------------------------------------
// `metadata` says to the OpenAPI document what is checked in a way of our own.

export const id = v.pipe(
  v.string(),
  v.regex(ID_PATTERN, 'an id has 1 to 128 letters, digits, "_", "-"'),
);
const digits = (max: number) =>
  v.pipe(
    v.string(),
    v.metadata({ type: 'integer', minimum: 1, maximum: max }),
    v.check((text) => /^[1-9]\d{0,9}$/.test(text), 'a whole number from 1'),
    v.transform(Number),
    v.maxValue(max, `at most ${max}`),
  );
const version = digits(MAX_VERSION);
const path = v.pipe(
  v.string(),
  v.metadata({ minLength: 1, maxLength: 1024 }),
  v.rawCheck(({ dataset, addIssue }) => {
    const problem = dataset.typed ? pathProblem(dataset.value) : null;
    if (problem !== null) addIssue({ message: problem });
  }),
);
const folder = v.optional(
  v.pipe(
    v.picklist(['source', 'artifacts'], 'must be "source" or "artifacts"'),
    v.description('What the generator wrote, or what was built from it.'),
  ),
  'source',
);
export const generation = v.optional(
  v.pipe(id, v.description('The generation id: where given, it must match, else 404.')),
);
const flag = (description: string) =>
  v.optional(
    v.pipe(
      v.string(),
      v.metadata({ type: 'boolean' }),
      v.description(description),
      v.check((text) => text === 'true' || text === 'false', 'must be "true" or "false"'),
      v.transform((text) => text === 'true'),
    ),
    'false',
  );
const cursor = <T extends v.GenericSchema<string, string>>(schema: T) =>
  v.optional(v.pipe(schema, v.description('The `next_cursor` of the page before.')));

export const ProjectParamSchema = v.object({ project: id });
export const VersionParamSchema = v.object({ project: id, version });
export const FileParamSchema = v.object({
  ...VersionParamSchema.entries,
  path: v.pipe(path, v.description('The path of the file, its slashes as they are.')),
});

export const PageQuerySchema = v.object({
  limit: v.optional(digits(PAGE.max), String(PAGE.default)),
  cursor: cursor(v.pipe(v.string(), v.maxLength(512, 'at most 512 characters'))),
});

export const ListQuerySchema = v.object({
  ...PageQuerySchema.entries,
  deleted: flag('Whether to list what can be undone instead: what was deleted, or replaced.'),
});

const purge = flag('Whether it is gone for good at once.');
export const DeleteProjectQuerySchema = v.object({ purge });
export const DeleteGenerationQuerySchema = v.object({ generation, purge });
export const UndeleteQuerySchema = v.object({
  generation,
  digest: v.optional(
    v.pipe(
      v.string(),
      v.regex(DIGEST_PATTERN, 'a digest has 64 hexadecimal digits'),
      v.description('Of content that was replaced: it takes the place of what is there.'),
    ),
  ),
});

export const UsageHistoryQuerySchema = v.object({ days: v.optional(digits(366), '30') });

export const GenerationQuerySchema = v.object({ generation });
export const FileQuerySchema = v.object({ generation, folder });
export const FilesQuerySchema = v.object({
  generation,
  folder,
  limit: v.optional(digits(FILES_PAGE.max), String(FILES_PAGE.default)),
  cursor: cursor(path),
});

export const DiffQuerySchema = v.object({
  from: version,
  to: version,
  folder,
  unified: flag('Whether to say what changed inside the files.'),
  path: v.optional(v.pipe(path, v.description('This file alone.'))),
});

export const ZipQuerySchema = v.object({
  generation,
  token: v.optional(
    v.pipe(
      v.string(),
      v.maxLength(4096, 'at most 4096 characters'),
      v.description('Of a link that `download` made; takes the place of the bearer token.'),
    ),
  ),
});

export const CreateProjectBodySchema = v.object({
  name: v.pipe(
    v.string('a text'),
    v.trim(),
    v.minLength(1, 'at least 1 character'),
    v.maxLength(200, 'at most 200 characters'),
    v.description('For people.'),
  ),
});

// What comes out ------------------------------------------------------------------------------

/** Those that a generation in the database, and not deleted, can have. */
export const LISTED_STATUSES = [
  'pending',
  'uploaded',
  'verified',
  'failed',
] as const satisfies Status[];

export const count = v.pipe(v.number(), v.integer(), v.minValue(0));
export const bytes = v.pipe(count, v.description('Bytes.'));
export const time = v.pipe(v.string(), v.isoTimestamp());
export const hash = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));

export const GenerationSchema = v.object({
  project_id: id,
  version: count,
  generation_id: id,
  status: v.picklist(LISTED_STATUSES),
  failure: v.nullable(
    v.pipe(v.string(), v.description('Why the upload was given up, where it is `failed`.')),
  ),
  active: v.boolean(),
  file_count: v.nullable(count),
  source_bytes: v.nullable(bytes),
  archive_bytes: v.nullable(bytes),
  digest: v.nullable(
    v.pipe(v.string(), v.description('Of the files alone: the same where they are the same.')),
  ),
  sha256: v.nullable(v.pipe(v.string(), v.description('Of the archive.'))),
  created_at: time,
  uploaded_at: v.nullable(time),
});
export type Generation = v.InferOutput<typeof GenerationSchema>;

/** Where a generation is. */
export const PlaceSchema = v.object({
  cloud_enabled: v.boolean(),
  uploaded: v.pipe(v.boolean(), v.description('Whether it is whole in the bucket.')),
});

/** One generation with what it takes to get it; the URL is null until it is uploaded. */
export const GenerationDetailsSchema = v.object({
  ...GenerationSchema.entries,
  metadata: v.nullable(
    v.pipe(
      v.record(v.string(), v.unknown()),
      v.description('What the generator saved with it; null until it is uploaded.'),
    ),
  ),
  storage: PlaceSchema,
  download_url: v.nullable(v.string()),
  expires_in: v.nullable(v.pipe(count, v.description('Seconds.'))),
});
export type GenerationDetails = v.InferOutput<typeof GenerationDetailsSchema>;

export const ProjectSchema = v.object({
  id,
  name: v.nullable(v.string()),
  active_version: v.nullable(count),
  versions: count,
  archive_bytes: bytes,
  created_at: time,
});
export type Project = v.InferOutput<typeof ProjectSchema>;

export const FileEntrySchema = v.object({
  path: v.string(),
  size: bytes,
  sha256: hash,
  mode: v.pipe(count, v.description('Permission bits: 420 is 0o644.')),
});
/** A file of a generation. */
export type FileEntry = v.InferOutput<typeof FileEntrySchema>;

/** In both versions, with other content or another mode. */
export const ModifiedFileSchema = v.object({
  path: v.string(),
  from: FileEntrySchema,
  to: FileEntrySchema,
});

export const DiffSchema = v.object({
  from: count,
  to: count,
  added: v.array(FileEntrySchema),
  removed: v.array(FileEntrySchema),
  modified: v.array(ModifiedFileSchema),
  unchanged: v.array(FileEntrySchema),
  unified: v.nullable(
    v.pipe(
      v.string(),
      v.description(
        'A patch of the texts that changed, for `git apply`; null where not asked for.',
      ),
    ),
  ),
});
export type Diff = v.InferOutput<typeof DiffSchema>;

export const ActivationSchema = v.object({ project_id: id, active_version: count });
export type Activation = v.InferOutput<typeof ActivationSchema>;

export const UsageSchema = v.object({
  projects: count,
  generations: count,
  archive_bytes: bytes,
  source_bytes: bytes,
});
export type Usage = v.InferOutput<typeof UsageSchema>;

export const UsageDaySchema = v.object({
  day: v.pipe(v.string(), v.description('In UTC: `2026-11-28`.')),
  generations: v.pipe(count, v.description('Kept at its end.')),
  archive_bytes: v.pipe(bytes, v.description('Kept at its end.')),
  downloads: v.pipe(count, v.description('URLs that were made on it.')),
  download_bytes: bytes,
});

export const UsageHistorySchema = v.object({
  days: v.array(UsageDaySchema),
  price_per_gb: v.nullable(
    v.pipe(v.number(), v.description('Of the operator, for 30 days; null where none is set.')),
  ),
  cost: v.nullable(v.pipe(v.number(), v.description('What it cost to keep it on these days.'))),
});
export type UsageHistory = v.InferOutput<typeof UsageHistorySchema>;

export const HealthSchema = v.object({ status: v.literal('ok') });

/** RFC 9457: every failure. */
export const ProblemSchema = v.object({
  type: v.string(),
  title: v.string(),
  status: count,
  detail: v.pipe(v.string(), v.description('A sentence for a person.')),
  code: v.picklist(Object.keys(ERROR_CODES) as ErrorCode[]),
  request_id: v.pipe(v.string(), v.description('Under which the log has it.')),
  download_url: v.optional(
    v.pipe(v.string(), v.description('Where what was too large can be had whole.')),
  ),
});

/** One page of a list; `next_cursor` is null on the last. */
export type Page<T> = Readonly<{ items: T[]; next_cursor: string | null }>;
