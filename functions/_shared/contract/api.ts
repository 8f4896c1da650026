/** The shapes of the Edge API's JSON. Names are snake_case, sizes bytes, times ISO 8601 UTC. */
import * as v from 'valibot';
import { ID_PATTERN, MAX_VERSION } from './ids.ts';
import { FILES_PAGE, PAGE, URL_EXPIRY } from './limits.ts';
import { pathProblem } from './paths.ts';
import { STATUSES } from './status.ts';

const id = v.pipe(v.string(), v.regex(ID_PATTERN, 'an id has 1 to 128 letters, digits, "_", "-"'));
const digits = (max: number) =>
  v.pipe(
    v.string(),
    v.regex(/^[1-9]\d{0,9}$/, 'a whole number from 1'),
    v.transform(Number),
    v.maxValue(max, `at most ${max}`),
  );

export const ProjectParamSchema = v.object({ project: id });
export const VersionParamSchema = v.object({ project: id, version: digits(MAX_VERSION) });

export const PageQuerySchema = v.object({
  limit: v.optional(digits(PAGE.max), String(PAGE.default)),
  cursor: v.optional(v.pipe(v.string(), v.maxLength(512, 'at most 512 characters'))),
});

/** `?generation=ID`: where given, it must match, else `not_found`. */
export const GenerationQuerySchema = v.object({ generation: v.optional(id) });

/** The path of a file, relative to its folder. */
const path = v.pipe(
  v.string(),
  v.rawCheck(({ dataset, addIssue }) => {
    const problem = dataset.typed ? pathProblem(dataset.value) : null;
    if (problem !== null) addIssue({ message: problem });
  }),
);
const folder = v.optional(
  v.picklist(['source', 'artifacts'], 'must be "source" or "artifacts"'),
  'source',
);

export const FileParamSchema = v.object({ ...VersionParamSchema.entries, path });
export const FileQuerySchema = v.object({ ...GenerationQuerySchema.entries, folder });

/** The cursor of a tree is the last path of the page before. */
export const FilesQuerySchema = v.object({
  ...FileQuerySchema.entries,
  limit: v.optional(digits(FILES_PAGE.max), String(FILES_PAGE.default)),
  cursor: v.optional(path),
});

const flag = v.pipe(
  v.optional(v.picklist(['true', 'false'], 'must be "true" or "false"'), 'false'),
  v.transform((text) => text === 'true'),
);

export const DiffQuerySchema = v.object({
  from: digits(MAX_VERSION),
  to: digits(MAX_VERSION),
  folder,
  /** Whether to say what changed inside the files. */
  unified: flag,
  /** Only this file. */
  path: v.optional(path),
});

/** `?token=`: of the link to a zip, which a plain link can use. */
export const ZipQuerySchema = v.object({
  ...GenerationQuerySchema.entries,
  token: v.optional(v.pipe(v.string(), v.maxLength(4096, 'at most 4096 characters'))),
});

export const DownloadBodySchema = v.object({
  format: v.optional(v.picklist(['tar.gz', 'zip'], 'must be "tar.gz" or "zip"'), 'tar.gz'),
  expires_in: v.optional(
    v.pipe(
      v.number('a number of seconds'),
      v.integer('a whole number of seconds'),
      v.minValue(1, 'at least 1 second'),
      v.maxValue(URL_EXPIRY.max, `at most ${URL_EXPIRY.max} seconds`),
    ),
    URL_EXPIRY.default,
  ),
});

/** The name of a project, which people read. */
export const CreateProjectBodySchema = v.object({
  name: v.pipe(
    v.string('a text'),
    v.trim(),
    v.minLength(1, 'at least 1 character'),
    v.maxLength(200, 'at most 200 characters'),
  ),
});

export const GenerationSchema = v.object({
  project_id: id,
  version: v.number(),
  generation_id: id,
  status: v.picklist(STATUSES),
  active: v.boolean(),
  file_count: v.nullable(v.number()),
  source_bytes: v.nullable(v.number()),
  archive_bytes: v.nullable(v.number()),
  digest: v.nullable(v.string()),
  sha256: v.nullable(v.string()),
  created_at: v.string(),
  uploaded_at: v.nullable(v.string()),
});
export type Generation = v.InferOutput<typeof GenerationSchema>;

/** One generation with what it takes to get it; the URL is null until it is uploaded. */
export const GenerationDetailsSchema = v.object({
  ...GenerationSchema.entries,
  storage: v.object({ cloud_enabled: v.boolean(), uploaded: v.boolean() }),
  download_url: v.nullable(v.string()),
  /** Seconds. */
  expires_in: v.nullable(v.number()),
});
export type GenerationDetails = v.InferOutput<typeof GenerationDetailsSchema>;

export const ProjectSchema = v.object({
  id,
  name: v.nullable(v.string()),
  active_version: v.nullable(v.number()),
  versions: v.number(),
  archive_bytes: v.number(),
  created_at: v.string(),
});
export type Project = v.InferOutput<typeof ProjectSchema>;

export const DownloadSchema = v.object({
  url: v.string(),
  expires_at: v.string(),
  sha256: v.nullable(v.string()),
  size: v.nullable(v.number()),
});
export type Download = v.InferOutput<typeof DownloadSchema>;

export const FileEntrySchema = v.object({
  path: v.string(),
  size: v.number(),
  sha256: v.string(),
  /** Permission bits. */
  mode: v.number(),
});
/** A file of a generation. */
export type FileEntry = v.InferOutput<typeof FileEntrySchema>;

export const DiffSchema = v.object({
  from: v.number(),
  to: v.number(),
  added: v.array(FileEntrySchema),
  removed: v.array(FileEntrySchema),
  modified: v.array(v.object({ path: v.string(), from: FileEntrySchema, to: FileEntrySchema })),
  unchanged: v.array(FileEntrySchema),
  /** A patch of the texts that changed; null where it was not asked for. */
  unified: v.nullable(v.string()),
});
export type Diff = v.InferOutput<typeof DiffSchema>;

export const UsageSchema = v.object({
  projects: v.number(),
  generations: v.number(),
  archive_bytes: v.number(),
  source_bytes: v.number(),
});
export type Usage = v.InferOutput<typeof UsageSchema>;

/** One page of a list; `next_cursor` is null on the last. */
export type Page<T> = Readonly<{ items: T[]; next_cursor: string | null }>;
