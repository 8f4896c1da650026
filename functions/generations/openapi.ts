/** The OpenAPI document of the Edge API. */
import * as v from 'valibot';
import {
  ActivationSchema,
  DiffSchema,
  FileEntrySchema,
  GenerationDetailsSchema,
  GenerationSchema,
  HealthSchema,
  ModifiedFileSchema,
  PlaceSchema,
  ProblemSchema,
  ProjectSchema,
  UsageDaySchema,
  UsageHistorySchema,
  UsageSchema,
} from '../_shared/contract/api.ts';
import {
  DeletedGenerationSchema,
  DeletedProjectSchema,
  ReplacedContentSchema,
  UndeletableGenerationSchema,
  UndeletableProjectSchema,
  UndeletedGenerationSchema,
  UndeletedProjectSchema,
} from '../_shared/contract/deletions.ts';
import { DownloadSchema } from '../_shared/contract/downloads.ts';
import { EndedLinkSchema, LinkSchema } from '../_shared/contract/links.ts';
import { describeApi, type Operation, pageOf, type Route } from '../_shared/contract/openapi.ts';
import { findInputSchemas } from '../_shared/input.ts';

const SCHEMAS = {
  Activation: ActivationSchema,
  DeletedGeneration: DeletedGenerationSchema,
  DeletedProject: DeletedProjectSchema,
  Diff: DiffSchema,
  Download: DownloadSchema,
  EndedLink: EndedLinkSchema,
  FileEntry: FileEntrySchema,
  Generation: GenerationSchema,
  GenerationDetails: GenerationDetailsSchema,
  Link: LinkSchema,
  ModifiedFile: ModifiedFileSchema,
  Place: PlaceSchema,
  Problem: ProblemSchema,
  Project: ProjectSchema,
  ReplacedContent: ReplacedContentSchema,
  UndeletableGeneration: UndeletableGenerationSchema,
  UndeletableProject: UndeletableProjectSchema,
  UndeletedGeneration: UndeletedGenerationSchema,
  UndeletedProject: UndeletedProjectSchema,
  Usage: UsageSchema,
  UsageDay: UsageDaySchema,
} as const;

/** By method and path. The routes are in `app.ts`; neither may know one that the other does not. */
const OPERATIONS: Record<string, Operation> = {
  'GET /projects': {
    id: 'listProjects',
    summary: 'Your projects, newest first; or those whose deletion can be undone.',
    answer: pageOf(v.union([ProjectSchema, UndeletableProjectSchema])),
  },
  'POST /projects': {
    id: 'createProject',
    summary: 'A new project of yours. The server makes its id.',
    answer: ProjectSchema,
    status: 201,
    errors: ['too_large'],
  },
  'GET /projects/{project}': {
    id: 'listGenerations',
    summary: 'The versions of a project, newest first; or what of them can be undone.',
    answer: pageOf(v.union([GenerationSchema, UndeletableGenerationSchema])),
    errors: ['not_found'],
  },
  'GET /projects/{project}/{version}': {
    id: 'showGeneration',
    summary: 'One version, with a signed URL of its tar.gz once it is uploaded.',
    answer: GenerationDetailsSchema,
    errors: ['not_found'],
  },
  'POST /projects/{project}/{version}/download': {
    id: 'downloadGeneration',
    summary:
      'A signed URL of the tar.gz or the zip, or a link that can be ended: it needs nothing else.',
    answer: DownloadSchema,
    errors: ['not_found', 'conflict', 'too_large'],
  },
  'GET /projects/{project}/{version}/archive.zip': {
    id: 'downloadZip',
    summary: 'The zip, made as it streams.',
    answer: 'application/zip',
    errors: ['not_found', 'conflict', 'too_large', 'corrupt'],
    needs: 'token or link',
  },
  'GET /projects/{project}/{version}/files': {
    id: 'listFiles',
    summary: 'The files of a version, by path.',
    answer: pageOf(FileEntrySchema),
    errors: ['not_found', 'conflict', 'too_large', 'corrupt'],
  },
  'GET /projects/{project}/{version}/files/{path}': {
    id: 'getFile',
    summary: 'One file. Its ETag is its sha256; If-None-Match is answered with 304.',
    answer: '*/*',
    others: { 304: 'The browser has it.' },
    errors: ['not_found', 'conflict', 'too_large', 'corrupt'],
  },
  'GET /projects/{project}/diff': {
    id: 'diffGenerations',
    summary: 'What changed between two versions.',
    answer: DiffSchema,
    errors: ['not_found', 'conflict', 'too_large', 'corrupt'],
  },
  'POST /projects/{project}/{version}/activate': {
    id: 'activateGeneration',
    summary: "Makes a version the project's active one.",
    answer: ActivationSchema,
    errors: ['not_found'],
  },
  'DELETE /projects/{project}/{version}': {
    id: 'deleteGeneration',
    summary:
      'Deletes a version: it is gone for everybody at once, and can be undeleted for a while.',
    answer: DeletedGenerationSchema,
    errors: ['not_found'],
  },
  'POST /projects/{project}/{version}/undelete': {
    id: 'undeleteGeneration',
    summary: 'Undoes the deletion of a version, or brings content back that was replaced.',
    answer: UndeletedGenerationSchema,
    errors: ['not_found'],
  },
  'DELETE /projects/{project}': {
    id: 'deleteProject',
    summary: 'Deletes a project with all its versions. It can be undeleted for a while.',
    answer: DeletedProjectSchema,
    errors: ['not_found'],
  },
  'POST /projects/{project}/undelete': {
    id: 'undeleteProject',
    summary: 'Undoes the deletion of a project, with all that was deleted with it.',
    answer: UndeletedProjectSchema,
    errors: ['not_found'],
  },
  'GET /links': {
    id: 'listLinks',
    summary: 'Your links that can be followed, newest first.',
    answer: pageOf(LinkSchema),
  },
  'GET /links/{id}': {
    id: 'followLink',
    summary: 'Leads to a URL of the archive that is good for 30 seconds, and counts that.',
    answer: null,
    status: 302,
    errors: ['not_found', 'conflict', 'rate_limited', 'unavailable'],
    needs: 'nothing',
  },
  'DELETE /links/{id}': {
    id: 'endLink',
    summary: 'Ends a link: nobody downloads by it any more, after 30 seconds at most.',
    answer: EndedLinkSchema,
    errors: ['not_found'],
  },
  'GET /usage': { id: 'showUsage', summary: 'How much you keep, in all.', answer: UsageSchema },
  'GET /usage/history': {
    id: 'showUsageHistory',
    summary:
      'What you kept at the end of each of the last days, what you downloaded, and the cost.',
    answer: UsageHistorySchema,
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
    title: 'codebegen-storage',
    description: 'What is missing, deleted or of another user looks the same: 404.',
    server,
    schemas: SCHEMAS,
    securitySchemes: {
      token: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
      link: { type: 'apiKey', in: 'query', name: 'token' },
    },
    errorsOf: (needs) =>
      needs === 'nothing' ? [] : ['unauthenticated', 'rate_limited', 'unavailable'],
    routes,
    operations: OPERATIONS,
    findInputs: findInputSchemas,
  });
}
