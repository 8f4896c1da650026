/** What each route of the daemon's API takes and answers. The routes are in `app.ts`. */
import {
  FileEntrySchema,
  FileParamSchema,
  type Operation,
  ProjectParamSchema,
  pageOf,
  VersionParamSchema,
} from '../contract.ts';
import { HOST_OPERATIONS } from './host-operations.ts';
import { LINK_OPERATIONS } from './link-operations.ts';
import {
  ActivationSchema,
  ActivityQuerySchema,
  ActivitySchema,
  CleanedSchema,
  DeletedGenerationSchema,
  DeletedProjectSchema,
  DiffQuerySchema,
  DiffSchema,
  DownloadQuerySchema,
  DownloadSchema,
  EventsQuerySchema,
  GenerationDetailsSchema,
  GenerationQuerySchema,
  GenerationSchema,
  HealthSchema,
  numberedPageOf,
  OpenedSchema,
  PageQuerySchema,
  ProjectSchema,
  ProjectsQuerySchema,
  ReadySchema,
  ReceiptSchema,
  RetriedSchema,
  SaveQuerySchema,
  StatusSchema,
  UndeletedGenerationSchema,
  UndeletedProjectSchema,
  UndeleteQuerySchema,
  UploadSchema,
} from './schemas.ts';

/** What may come of writing to a disk. */
const WRITES = ['disk_full', 'read_only'] as const;
/** What may come of reading a generation. */
const READS = ['not_found', 'corrupt'] as const;

const GENERATION = '/v1/projects/{project}/{version}';
const ofGeneration = { param: VersionParamSchema, query: GenerationQuerySchema };
const PART = { 206: 'The part that was asked for.', 304: 'It is known already.' };
const UNSATISFIABLE = { 416: 'The range begins behind the end.' };

/** What the JSON of a save holds: the sizes of it are in `docs/operations.md`. */
const DETAILS = {
  project_id: { type: 'string' },
  version: { type: 'integer', minimum: 1, description: 'Left out: the next free one.' },
  generation_id: { type: 'string', description: 'Left out: a new UUID.' },
  owner_id: { type: 'string', format: 'uuid', description: 'The user whose project it is.' },
  metadata: { type: 'object', description: 'Comes back wherever the generation is shown.' },
  replace: { type: 'boolean', default: false },
  tree: { const: 'now', description: 'Its files are to lie at its path when it is answered.' },
} as const;

const SAVE_BODY: NonNullable<Operation['body']>[string] = {
  type: 'object',
  required: ['project_id', 'files'],
  additionalProperties: false,
  properties: {
    ...DETAILS,
    files: {
      type: 'object',
      description: 'By path.',
      additionalProperties: {
        anyOf: [
          { type: 'string' },
          {
            type: 'object',
            required: ['content'],
            additionalProperties: false,
            properties: {
              content: { type: 'string' },
              encoding: { enum: ['utf8', 'base64'], default: 'utf8' },
              mode: { type: 'integer', description: 'Permission bits: 493 is 0o755.' },
            },
          },
        ],
      },
    },
  },
};

/** The fields come first, each file under its path as the name of a part, or as its `filename`. */
const FORM: NonNullable<Operation['body']>[string] = {
  type: 'object',
  required: ['project_id'],
  properties: {
    ...DETAILS,
    metadata: { type: 'string', description: 'JSON.' },
  },
  additionalProperties: { type: 'string', format: 'binary', description: 'A file.' },
};
const ARCHIVE = {
  type: 'string',
  format: 'binary',
  description: 'An archive of the files. Its details are in the query.',
} as const;

/** By method and path. The routes are in `app.ts`; neither may know one that the other does not. */
export const OPERATIONS: Record<string, Operation> = {
  'POST /v1/generations': {
    id: 'saveGeneration',
    summary:
      'Saves a generation: safe on disk when it is answered. 200 where it was there already.',
    answer: ReceiptSchema,
    status: 201,
    also: [200],
    inputs: { query: SaveQuerySchema },
    body: {
      'application/json': SAVE_BODY,
      'multipart/form-data': FORM,
      'application/gzip': ARCHIVE,
      'application/x-tar': ARCHIVE,
      'application/zip': ARCHIVE,
    },
    errors: ['conflict', 'too_large', 'corrupt', ...WRITES],
  },
  'GET /v1/projects': {
    id: 'listProjects',
    summary: 'The projects, by id.',
    answer: pageOf(ProjectSchema),
    inputs: { query: ProjectsQuerySchema },
  },
  'GET /v1/projects/{project}': {
    id: 'listGenerations',
    summary: 'The generations of a project, newest version first.',
    answer: numberedPageOf(GenerationSchema),
    inputs: { param: ProjectParamSchema, query: PageQuerySchema },
  },
  'DELETE /v1/projects/{project}': {
    id: 'deleteProject',
    summary: 'Deletes all generations of a project that this host knows of.',
    answer: DeletedProjectSchema,
    inputs: { param: ProjectParamSchema },
    errors: ['not_found', ...WRITES],
  },
  'POST /v1/projects/{project}/undelete': {
    id: 'undeleteProject',
    summary: 'Undoes the deletion of all generations of a project that are still kept.',
    answer: UndeletedProjectSchema,
    inputs: { param: ProjectParamSchema },
    errors: ['not_found', ...WRITES],
  },
  'GET /v1/projects/{project}/diff': {
    id: 'diffGenerations',
    summary: 'What changed between two versions.',
    answer: DiffSchema,
    inputs: { param: ProjectParamSchema, query: DiffQuerySchema },
    errors: READS,
  },
  [`GET ${GENERATION}`]: {
    id: 'showGeneration',
    summary: 'One generation, with a URL that works now.',
    answer: GenerationDetailsSchema,
    inputs: ofGeneration,
    errors: READS,
  },
  [`DELETE ${GENERATION}`]: {
    id: 'deleteGeneration',
    summary: 'Deletes a generation: here at once, in the cloud soon after.',
    answer: DeletedGenerationSchema,
    inputs: ofGeneration,
    errors: ['not_found', ...WRITES],
  },
  [`POST ${GENERATION}/undelete`]: {
    id: 'undeleteGeneration',
    summary: 'Undoes the deletion of a generation, or brings content back that was replaced.',
    answer: UndeletedGenerationSchema,
    inputs: { param: VersionParamSchema, query: UndeleteQuerySchema },
    errors: ['not_found', ...WRITES],
  },
  [`POST ${GENERATION}/activate`]: {
    id: 'activateGeneration',
    summary: 'Makes a generation the active one of its project.',
    answer: ActivationSchema,
    inputs: ofGeneration,
    errors: ['conflict', ...READS, ...WRITES],
  },
  [`POST ${GENERATION}/open`]: {
    id: 'openGeneration',
    summary: 'Has its files lie in a folder of this host, and says where.',
    answer: OpenedSchema,
    inputs: ofGeneration,
    errors: [...READS, ...WRITES],
  },
  [`GET ${GENERATION}/download`]: {
    id: 'downloadGeneration',
    summary: 'A signed URL of the tar.gz, which needs nothing else.',
    answer: DownloadSchema,
    inputs: { param: VersionParamSchema, query: DownloadQuerySchema },
    errors: ['conflict', ...READS, ...WRITES],
  },
  [`GET ${GENERATION}/files`]: {
    id: 'listFiles',
    summary: 'Its files, by path: all of them.',
    answer: pageOf(FileEntrySchema),
    inputs: ofGeneration,
    errors: READS,
  },
  [`GET ${GENERATION}/files/{path}`]: {
    id: 'getFile',
    summary: 'One file, or a part of it (Range). Its ETag is its sha256.',
    answer: 'application/octet-stream',
    others: { ...PART, ...UNSATISFIABLE },
    inputs: { param: FileParamSchema, query: GenerationQuerySchema },
    errors: READS,
  },
  [`GET ${GENERATION}/archive.tar.gz`]: {
    id: 'getArchive',
    summary: 'The tar.gz, or a part of it (Range). 302 to the cloud where that alone has it.',
    answer: 'application/gzip',
    others: { 302: 'The cloud has it.', ...PART, ...UNSATISFIABLE },
    inputs: ofGeneration,
    errors: [...READS, ...WRITES],
    needs: 'token or link',
  },
  [`GET ${GENERATION}/archive.zip`]: {
    id: 'getZip',
    summary: 'The zip, made as it streams.',
    answer: 'application/zip',
    inputs: ofGeneration,
    errors: READS,
  },
  'GET /v1/uploads': {
    id: 'listUploads',
    summary: 'What is owed to the cloud, oldest first.',
    answer: numberedPageOf(UploadSchema),
    inputs: { query: PageQuerySchema },
  },
  'POST /v1/uploads/retry': {
    id: 'retryUploads',
    summary: 'Has tried again what was parked.',
    answer: RetriedSchema,
    errors: WRITES,
  },
  'POST /v1/cleanup': {
    id: 'cleanUp',
    summary: 'Evicts cached copies and trees that are too old or too much.',
    answer: CleanedSchema,
  },
  ...LINK_OPERATIONS,
  ...HOST_OPERATIONS,
  'GET /v1/events': {
    id: 'streamEvents',
    summary: 'What happens, as it happens: server-sent events. It does not end by itself.',
    answer: 'text/event-stream',
    inputs: { query: EventsQuerySchema },
    errors: ['unavailable'],
  },
  'GET /v1/activity': {
    id: 'showActivity',
    summary: 'What was done lately: saves, uploads, bytes, durations. The present span comes last.',
    answer: ActivitySchema,
    inputs: { query: ActivityQuerySchema },
  },
  'GET /v1/status': {
    id: 'showStatus',
    summary: 'How it is: what is kept, what is owed, whether the cloud is there.',
    answer: StatusSchema,
  },
  'GET /healthz': {
    id: 'health',
    summary: 'Whether the daemon answers.',
    answer: HealthSchema,
    needs: 'nothing',
  },
  'GET /readyz': {
    id: 'ready',
    summary: 'Whether generations can be saved, by trying.',
    answer: ReadySchema,
    errors: ['unavailable'],
    needs: 'nothing',
  },
  'GET /metrics': { id: 'metrics', summary: 'For Prometheus.', answer: 'text/plain' },
  'GET /openapi.json': {
    id: 'openapi',
    summary: 'This document.',
    answer: 'application/json',
  },
};
