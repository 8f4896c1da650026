/** The shapes of the daemon's JSON. Names are snake_case, sizes bytes, times ISO 8601 UTC. */
import * as v from 'valibot';
import {
  FileEntrySchema,
  MAX_VERSION,
  PAGE,
  ProblemSchema,
  pageOf,
  type Status,
  URL_EXPIRY,
} from '../contract.ts';
import { RANGE_NAMES } from '../read/stats.ts';
import { LINK_POLICIES } from '../store/source.ts';

// What goes in --------------------------------------------------------------------------------

const whole = (max: number, text: string) =>
  v.pipe(
    v.string(),
    v.metadata({ type: 'integer', minimum: 1, maximum: max }),
    v.description(text),
  );

const generation = v.optional(
  v.pipe(v.string(), v.description('The generation id: where given, it must match, else 404.')),
);
export const GenerationQuerySchema = v.object({ generation });
export const UndeleteQuerySchema = v.object({
  generation,
  digest: v.optional(
    v.pipe(v.string(), v.description('Of content that was replaced: it comes back.')),
  ),
});
const limit = v.optional(whole(PAGE.max, 'Rows.'), String(PAGE.default));
export const ProjectsQuerySchema = v.object({
  limit,
  cursor: v.optional(v.pipe(v.string(), v.description('The `next_cursor` of the page before.'))),
});
export const PageQuerySchema = v.object({
  limit,
  cursor: v.optional(whole(Number.MAX_SAFE_INTEGER, 'The `next_cursor` of the page before.')),
});
export const DiffQuerySchema = v.object({
  from: whole(MAX_VERSION, 'The version before.'),
  to: whole(MAX_VERSION, 'The version after.'),
});
export const DownloadQuerySchema = v.object({
  generation,
  expires_in: v.optional(whole(URL_EXPIRY.max, 'Seconds.'), String(URL_EXPIRY.default)),
});

export const EventsQuerySchema = v.object({
  project: v.optional(v.pipe(v.string(), v.description('Events of one project alone.'))),
  kinds: v.optional(v.pipe(v.string(), v.description('Kinds of events, with commas between.'))),
  recent: v.optional(whole(100, 'So many of those that happened last are told first.')),
  last_event_id: v.optional(
    v.pipe(
      v.string(),
      v.description('As the header Last-Event-ID: what came after it is told first.'),
    ),
  ),
});

export const ActivityQuerySchema = v.object({
  range: v.optional(
    v.pipe(v.picklist(RANGE_NAMES), v.description('By the minute, the quarter, the day.')),
    'hour',
  ),
});

/** Of an archive: the other bodies have their details within. */
export const SaveQuerySchema = v.object({
  project_id: v.optional(v.pipe(v.string(), v.description('Of an archive: needed.'))),
  version: v.optional(whole(MAX_VERSION, 'Left out: the next free one.')),
  generation_id: v.optional(v.pipe(v.string(), v.description('Left out: a new UUID.'))),
  owner_id: v.optional(v.pipe(v.string(), v.description('The user whose project it is.'))),
  metadata: v.optional(v.pipe(v.string(), v.description('A JSON object.'))),
  replace: v.optional(v.picklist(['true', 'false'])),
  tree: v.optional(v.literal('now')),
  links: v.optional(
    v.pipe(
      v.picklist(LINK_POLICIES),
      v.description('What becomes of links: they are counted in `left_out`.'),
    ),
    'skip',
  ),
});

// What comes out ------------------------------------------------------------------------------

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const bytes = v.pipe(count, v.description('Bytes.'));
const time = v.pipe(v.string(), v.isoTimestamp());
const nullable = v.nullable;
const text = v.string();

const ref = { project_id: text, version: count, generation_id: text };
const STATUSES = ['local', 'pending', 'uploaded', 'verified', 'failed'] as const satisfies Status[];
const status = v.picklist(STATUSES);

/** Where a generation is, and a URL that works now. */
const description = {
  download_url: nullable(v.pipe(text, v.description('`null` where nothing serves it yet.'))),
  expires_in: nullable(v.pipe(count, v.description('Seconds.'))),
  cloud_storage_enabled: v.boolean(),
  storage: v.object({
    local_path: nullable(v.pipe(text, v.description('`null` where the cloud alone has it.'))),
    cloud_enabled: v.boolean(),
    uploaded: v.boolean(),
  }),
};

export const ReceiptSchema = v.object({
  ...ref,
  status,
  version_provisional: v.pipe(
    v.boolean(),
    v.description('Chosen without the cloud: where it has that version, this one gets another.'),
  ),
  created: v.pipe(v.boolean(), v.description('`false`: the same content was there already.')),
  path: text,
  file_count: count,
  bytes,
  digest: text,
  left_out: v.object({
    count,
    items: v.array(v.object({ path: text, reason: text })),
  }),
  ...description,
});

const summary = {
  ...ref,
  status,
  failure: nullable(text),
  file_count: nullable(count),
  bytes: nullable(bytes),
  archive_bytes: nullable(bytes),
  digest: nullable(text),
  sha256: nullable(text),
  object_key: text,
  created_at: text,
  uploaded_at: nullable(text),
  local_path: nullable(text),
};
const active = v.pipe(v.boolean(), v.description('Whether it is the active one of its project.'));
export const GenerationSchema = v.object({ ...summary, active });
export const GenerationDetailsSchema = v.object({
  ...summary,
  active,
  metadata: nullable(v.pipe(v.looseObject({}), v.description('As it was saved.'))),
  replaced: v.pipe(
    v.array(v.object({ digest: text, kept_until: text })),
    v.description('What it held before, and this host keeps.'),
  ),
  ...description,
});

export const ProjectSchema = v.object({
  project_id: text,
  owner_id: nullable(text),
  versions: count,
  latest_version: count,
  bytes,
});
export const DeletedGenerationSchema = v.object({
  ...ref,
  status: v.literal('deleted'),
  deleted: v.pipe(v.boolean(), v.description('`false`: it was deleted already.')),
});
export const DeletedProjectSchema = v.object({
  project_id: text,
  status: v.literal('deleted'),
  deleted: v.pipe(count, v.description('Generations that were there.')),
});
export const UndeletedProjectSchema = v.object({
  project_id: text,
  undeleted: v.pipe(count, v.description('Generations that are back.')),
  gone: v.pipe(count, v.description('Those of which nothing is kept, where it can be had from.')),
});
export const UndeletedGenerationSchema = v.object({
  ...ref,
  undeleted: v.pipe(v.boolean(), v.description('`false`: it was not deleted.')),
});
export const ActivationSchema = v.object({ project_id: text, active_version: count });
export const OpenedSchema = v.object({
  ...ref,
  path: v.pipe(text, v.description('The folder with `manifest.json` and `source/`.')),
  source_path: text,
  from: v.picklist(['store', 'cache', 'cloud', 'replica']),
  stale: v.pipe(v.boolean(), v.description('Past its time, and the cloud could not be asked.')),
  file_count: count,
});
export const DownloadSchema = v.object({
  url: text,
  expires_at: time,
  sha256: nullable(text),
  size: nullable(bytes),
});
export const DiffSchema = v.object({
  from: count,
  to: count,
  added: v.array(FileEntrySchema),
  removed: v.array(FileEntrySchema),
  modified: v.array(v.object({ path: text, from: FileEntrySchema, to: FileEntrySchema })),
  unchanged: v.array(FileEntrySchema),
});

export const UploadSchema = v.object({
  ...ref,
  step: v.picklist(['reserve', 'upload', 'record', 'verify', 'delete', 'undelete']),
  since: time,
  attempts: count,
  due_at: nullable(time),
  parked: v.boolean(),
  failure: nullable(text),
});
export const RetriedSchema = v.object({ retried: count });

const evicted = v.object({ evicted: count, bytes });
export const CleanedSchema = v.object({ cache: evicted, trees: evicted });

export const StatusSchema = v.object({
  store_path: text,
  disk: nullable(v.object({ free_bytes: bytes, bytes, free_inodes: nullable(count) })),
  cloud: v.object({
    enabled: v.boolean(),
    url: nullable(text),
    bucket: nullable(text),
    key: nullable(v.pipe(v.picklist(['secret', 'host']), v.description('Which one it goes by.'))),
    away: nullable(v.object({ since: time, cause: v.picklist(['away', 'refused']), reason: text })),
  }),
  scan: nullable(v.looseObject({})),
  generations: v.partial(v.object(Object.fromEntries(STATUSES.map((name) => [name, count])))),
  outbox: v.object({
    owed: count,
    parked: count,
    since: nullable(time),
    next_due_at: nullable(time),
    paused: v.boolean(),
    reason: nullable(text),
  }),
  webhooks: v.object({ owed: count, parked: count, since: nullable(time) }),
  /** Since when all is read anew, how many generations were, how many of them were damaged. */
  scrub: nullable(
    v.object({ began_at: time, checked: count, damaged: count, ended_at: nullable(time) }),
  ),
  daemon_url: nullable(text),
  only_in_cloud: count,
  cache: v.object({ path: text, copies: count, bytes, max_bytes: bytes }),
  parked: v.array(UploadSchema),
});

const ms = v.pipe(count, v.description('Milliseconds.'));
export const SpanSchema = v.object({
  from: time,
  saves: count,
  saved_bytes: bytes,
  save_ms: v.pipe(ms, v.description('Of all saves together.')),
  longest_save_ms: ms,
  uploads: count,
  uploaded_bytes: bytes,
  upload_ms: ms,
  longest_upload_ms: ms,
  failures: count,
  deletions: count,
});
export const ActivitySchema = v.object({
  range: v.picklist(RANGE_NAMES),
  items: v.array(SpanSchema),
});

export const HealthSchema = v.object({ status: v.literal('ok') });
export const ReadySchema = v.object({ status: v.literal('ready') });

/** Those that the document refers to by name. */
export const SCHEMAS = {
  Activation: ActivationSchema,
  Cleaned: CleanedSchema,
  DeletedGeneration: DeletedGenerationSchema,
  DeletedProject: DeletedProjectSchema,
  Diff: DiffSchema,
  Download: DownloadSchema,
  FileEntry: FileEntrySchema,
  Generation: GenerationSchema,
  GenerationDetails: GenerationDetailsSchema,
  Opened: OpenedSchema,
  Problem: ProblemSchema,
  Project: ProjectSchema,
  Receipt: ReceiptSchema,
  Span: SpanSchema,
  Status: StatusSchema,
  Upload: UploadSchema,
} as const;

/** As {@link pageOf}, of lists whose cursor is a number. */
export const numberedPageOf = <T extends v.GenericSchema>(item: T) =>
  v.object({ ...pageOf(item).entries, next_cursor: nullable(count) });
