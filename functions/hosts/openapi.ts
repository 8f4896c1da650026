/** The OpenAPI document of the function `hosts`. */
import * as v from 'valibot';
import { HealthSchema, ProblemSchema } from '../_shared/contract/api.ts';
import {
  ChangedActiveSchema,
  ChangedSchema,
  DownloadsSchema,
  FoundSchema,
  HostCheckSchema,
  ListedSchema,
  RecordedSchema,
  ReservedSchema,
  ScratchSchema,
  UploadTokenSchema,
  UploadTokensSchema,
} from '../_shared/contract/hosts.ts';
import { describeApi, type Operation, type Route } from '../_shared/contract/openapi.ts';
import {
  ActivationOutcomeSchema,
  ActiveGenerationSchema,
  CloudChangeSchema,
  CloudGenerationSchema,
  CloudProjectSchema,
  CloudRowSchema,
  DeletionOutcomeSchema,
  OwnerOutcomeSchema,
  PurgeOutcomeSchema,
  UndeletionOutcomeSchema,
} from '../_shared/contract/outcomes.ts';
import { findInputSchemas } from '../_shared/input.ts';

const SCHEMAS = {
  ActiveGeneration: ActiveGenerationSchema,
  Change: CloudChangeSchema,
  Generation: CloudGenerationSchema,
  Problem: ProblemSchema,
  Project: CloudProjectSchema,
  Row: CloudRowSchema,
  UploadToken: UploadTokenSchema,
} as const;

/** By method and path. The routes are in `app.ts`; neither may know one that the other does not. */
const OPERATIONS: Record<string, Operation> = {
  'POST /reserve': {
    id: 'reserve',
    summary: 'Takes versions, and keys for archives, with a token for each that is to be sent.',
    answer: ReservedSchema,
  },
  'POST /replace': {
    id: 'replace',
    summary: 'The same, of what may take the place of other content of yours.',
    answer: ReservedSchema,
  },
  'POST /uploads': {
    id: 'signUploads',
    summary: 'Tokens once more, for what you reserved and is not there yet.',
    answer: UploadTokensSchema,
  },
  'POST /record': {
    id: 'record',
    summary: 'Says what became of what you reserved.',
    answer: RecordedSchema,
  },
  'POST /find': {
    id: 'find',
    summary: 'The rows of versions, or which is the highest that is taken.',
    answer: FoundSchema,
  },
  'POST /list': {
    id: 'list',
    summary: 'A page of projects, or of the generations of one.',
    answer: ListedSchema,
  },
  'POST /download': {
    id: 'download',
    summary: 'Signed URLs of archives.',
    answer: DownloadsSchema,
  },
  'POST /changes': {
    id: 'listChanges',
    summary: 'A page of what was deleted, undeleted, purged or replaced, or made active.',
    answer: v.union([ChangedSchema, ChangedActiveSchema]),
  },
  'POST /delete': {
    id: 'delete',
    summary: 'Deletes a generation of yours; it can be undeleted for a while.',
    answer: DeletionOutcomeSchema,
  },
  'POST /undelete': {
    id: 'undelete',
    summary: 'Undoes a deletion, or a replacement, of yours.',
    answer: UndeletionOutcomeSchema,
  },
  'POST /purge': {
    id: 'purge',
    summary: 'Gives up for good what is kept no longer, of yours.',
    answer: PurgeOutcomeSchema,
  },
  'POST /owner': {
    id: 'setOwner',
    summary: "Says whose a project is that is nobody's, where all of it is yours.",
    answer: OwnerOutcomeSchema,
  },
  'POST /activate': {
    id: 'activate',
    summary: "Makes a generation of yours its project's active one.",
    answer: ActivationOutcomeSchema,
  },
  'POST /scratch': {
    id: 'scratch',
    summary: 'An object that stands for nothing: to look whether one can be sent and got.',
    answer: ScratchSchema,
  },
  'POST /check': {
    id: 'check',
    summary: 'What the key opens, and when it ends.',
    answer: HostCheckSchema,
  },
  'GET /health': {
    id: 'health',
    summary: 'Whether the function answers.',
    answer: HealthSchema,
    needs: 'nothing',
  },
  'GET /openapi.json': {
    id: 'openapi',
    summary: 'This document.',
    answer: 'application/json',
    needs: 'nothing',
  },
};

/**
 * Makes the document.
 *
 * @param routes of the app, middleware among them
 * @param server where the API is reached
 * @throws Error for a route that is not described, or a description without a route
 */
export function createOpenApi(routes: readonly Route[], server: string): Record<string, unknown> {
  return describeApi({
    title: 'codebegen-storage for hosts',
    description: 'What is missing, or of another host, looks the same.',
    server,
    schemas: SCHEMAS,
    securitySchemes: { token: { type: 'http', scheme: 'bearer' } },
    errorsOf: (needs) =>
      needs === 'nothing'
        ? []
        : ['unauthenticated', 'forbidden', 'too_large', 'rate_limited', 'unavailable'],
    routes,
    operations: OPERATIONS,
    findInputs: findInputSchemas,
  });
}
