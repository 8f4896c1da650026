/** The shapes of the Edge API's JSON. Names are snake_case, sizes bytes, times ISO 8601 UTC. */
import * as v from 'valibot';
import { ID_PATTERN, MAX_VERSION } from './ids.ts';
import { PAGE, URL_EXPIRY } from './limits.ts';
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

export const DownloadBodySchema = v.object({
  format: v.optional(v.picklist(['tar.gz'], 'must be "tar.gz"'), 'tar.gz'),
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

export const UsageSchema = v.object({
  projects: v.number(),
  generations: v.number(),
  archive_bytes: v.number(),
  source_bytes: v.number(),
});
export type Usage = v.InferOutput<typeof UsageSchema>;

/** One page of a list; `next_cursor` is null on the last. */
export type Page<T> = Readonly<{ items: T[]; next_cursor: string | null }>;
