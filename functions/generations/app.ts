/** The URL table of the function `generations`, and what holds for every route. */
import { corsHeaders } from '@supabase/supabase-js/cors';
import { Hono } from 'hono';
import { cors } from 'hono/cors';
import { createBaseApp } from '../_shared/base-app.ts';
import {
  CreateProjectBodySchema,
  DeleteGenerationQuerySchema,
  DeleteProjectQuerySchema,
  DiffQuerySchema,
  FileParamSchema,
  FileQuerySchema,
  FilesQuerySchema,
  GenerationQuerySchema,
  ListQuerySchema,
  ProjectParamSchema,
  UndeleteQuerySchema,
  UsageHistoryQuerySchema,
  VersionParamSchema,
  ZipQuerySchema,
} from '../_shared/contract/api.ts';
import { DownloadBodySchema, DownloadQuerySchema } from '../_shared/contract/downloads.ts';
import { EDGE_LIMITS } from '../_shared/contract/limits.ts';
import { LinkParamSchema, LinksQuerySchema } from '../_shared/contract/links.ts';
import type { Environment } from '../_shared/environment.ts';
import { input } from '../_shared/input.ts';
import { activateGeneration } from './activate-generation.ts';
import { archiveZip } from './archive-zip.ts';
import { createWaysIn } from './authenticate.ts';
import type { UserVariables } from './context.ts';
import { createProject } from './create-project.ts';
import { deleteGeneration } from './delete-generation.ts';
import { deleteProject } from './delete-project.ts';
import { diffGenerations } from './diff-generations.ts';
import { downloadGeneration } from './download-generation.ts';
import { endLink } from './end-link.ts';
import { createFollowLink } from './follow-link.ts';
import { listFiles } from './list-files.ts';
import { listGenerations } from './list-generations.ts';
import { listLinks } from './list-links.ts';
import { listProjects } from './list-projects.ts';
import { createOpenApi } from './openapi.ts';
import { onceMore } from './rows.ts';
import { showFile } from './show-file.ts';
import { showGeneration } from './show-generation.ts';
import { showUsage, showUsageHistory } from './show-usage.ts';
import { undeleteGeneration } from './undelete-generation.ts';
import { undeleteProject } from './undelete-project.ts';

/** What a browser may read of an answer beside its body. */
const EXPOSED_HEADERS = [
  'content-disposition',
  'content-length',
  'content-range',
  'etag',
  'x-request-id',
];
/** What supabase-js sends, of its version, and what is for us. */
const ALLOWED_HEADERS = [
  ...(corsHeaders['Access-Control-Allow-Headers'] ?? '').split(', '),
  'if-none-match',
  'range',
  'x-request-id',
];

/** What the client's types are made from. */
export type Api = ReturnType<typeof createRoutes>;

/** Makes the function: what it serves is `createApp(…).fetch`. */
export function createApp(environment: Environment): Hono<{ Variables: UserVariables }> {
  const app = createBaseApp<UserVariables>(
    EDGE_LIMITS.bodyBytes,
    cors({
      origin: '*',
      allowMethods: ['GET', 'HEAD', 'POST', 'DELETE', 'OPTIONS'],
      allowHeaders: ALLOWED_HEADERS,
      exposeHeaders: EXPOSED_HEADERS,
      maxAge: 3600,
    }),
  );
  app.route('/generations', createRoutes(environment));
  return app;
}

function createRoutes(environment: Environment) {
  const { byToken, byTokenOrLink } = createWaysIn(environment);
  const project = { param: ProjectParamSchema };
  const generation = { param: VersionParamSchema, query: GenerationQuerySchema };
  const archive = { param: VersionParamSchema, query: ZipQuerySchema };
  const files = { param: VersionParamSchema, query: FilesQuerySchema };
  const file = { param: FileParamSchema, query: FileQuerySchema };

  let openApi: Record<string, unknown> | null = null;

  const routes = new Hono<{ Variables: UserVariables }>()
    .get('/health', (c) => c.json({ status: 'ok' as const }))
    .get('/openapi.json', (c) => {
      openApi ??= createOpenApi(routes.routes, `${environment.publicUrl}/functions/v1/generations`);
      return c.json(openApi);
    })
    .get(
      '/projects/:project/:version/archive.zip',
      byTokenOrLink,
      input(archive),
      onceMore(archiveZip),
    )
    .get('/links/:id', input({ param: LinkParamSchema }), createFollowLink(environment))
    // Below this line every route needs a user's token.
    .use('/projects/*', byToken)
    .use('/links', byToken)
    .use('/links/*', byToken)
    .use('/usage', byToken)
    .use('/usage/*', byToken)
    .get('/projects', input({ query: ListQuerySchema }), listProjects)
    .post('/projects', input({ json: CreateProjectBodySchema }), createProject)
    .get('/projects/:project', input({ ...project, query: ListQuerySchema }), listGenerations)
    .delete(
      '/projects/:project',
      input({ ...project, query: DeleteProjectQuerySchema }),
      deleteProject,
    )
    .post('/projects/:project/undelete', input(project), undeleteProject)
    .get(
      '/projects/:project/diff',
      input({ ...project, query: DiffQuerySchema }),
      onceMore(diffGenerations),
    )
    .get('/projects/:project/:version', input(generation), showGeneration)
    .delete(
      '/projects/:project/:version',
      input({ param: VersionParamSchema, query: DeleteGenerationQuerySchema }),
      deleteGeneration,
    )
    .post(
      '/projects/:project/:version/undelete',
      input({ param: VersionParamSchema, query: UndeleteQuerySchema }),
      undeleteGeneration,
    )
    .post(
      '/projects/:project/:version/download',
      input({ param: VersionParamSchema, query: DownloadQuerySchema, json: DownloadBodySchema }),
      downloadGeneration,
    )
    .post('/projects/:project/:version/activate', input(generation), activateGeneration)
    .get('/projects/:project/:version/files', input(files), onceMore(listFiles))
    .get('/projects/:project/:version/files/:path{.+}', input(file), onceMore(showFile))
    .get('/links', input({ query: LinksQuerySchema }), listLinks)
    .delete('/links/:id', input({ param: LinkParamSchema }), endLink)
    .get('/usage', showUsage)
    .get('/usage/history', input({ query: UsageHistoryQuerySchema }), showUsageHistory);
  return routes;
}
