/** The URL table of the function `hosts`, and what holds for every route. */
import { Hono } from 'hono';
import { createBaseApp } from '../_shared/base-app.ts';
import {
  ActivateBodySchema,
  ChangesBodySchema,
  CheckBodySchema,
  FindBodySchema,
  HostDeleteBodySchema,
  HostDownloadBodySchema,
  HostUndeleteBodySchema,
  ListBodySchema,
  OwnerBodySchema,
  PurgeBodySchema,
  RecordBodySchema,
  ReserveBodySchema,
  ScratchBodySchema,
  UploadsBodySchema,
} from '../_shared/contract/hosts.ts';
import { HOST_LIMITS } from '../_shared/contract/limits.ts';
import type { Environment } from '../_shared/environment.ts';
import { input } from '../_shared/input.ts';
import { createAuthenticate } from './authenticate.ts';
import { listChanges } from './changes.ts';
import { check } from './check.ts';
import type { HostVariables } from './context.ts';
import { deleteGeneration, purge, undelete } from './delete.ts';
import { download } from './download.ts';
import { find, list } from './find.ts';
import { createOpenApi } from './openapi.ts';
import { activate, setOwner } from './projects.ts';
import { record } from './record.ts';
import { replace, reserve, signAgain } from './reserve.ts';
import { scratch } from './scratch.ts';

/** Makes the function: what it serves is `createApp(…).fetch`. */
export function createApp(environment: Environment): Hono<{ Variables: HostVariables }> {
  const app = createBaseApp<HostVariables>(HOST_LIMITS.bodyBytes);
  let openApi: Record<string, unknown> | null = null;
  const routes = new Hono<{ Variables: HostVariables }>()
    .get('/health', (c) => c.json({ status: 'ok' as const }))
    .get('/openapi.json', (c) => {
      openApi ??= createOpenApi(routes.routes, `${environment.publicUrl}/functions/v1/hosts`);
      return c.json(openApi);
    })
    // Below this line every route needs the key of a host.
    .use(createAuthenticate(environment))
    .post('/reserve', input({ json: ReserveBodySchema }), reserve)
    .post('/replace', input({ json: ReserveBodySchema }), replace)
    .post('/uploads', input({ json: UploadsBodySchema }), signAgain)
    .post('/record', input({ json: RecordBodySchema }), record)
    .post('/find', input({ json: FindBodySchema }), find)
    .post('/list', input({ json: ListBodySchema }), list)
    .post('/download', input({ json: HostDownloadBodySchema }), download)
    .post('/changes', input({ json: ChangesBodySchema }), listChanges)
    .post('/delete', input({ json: HostDeleteBodySchema }), deleteGeneration)
    .post('/undelete', input({ json: HostUndeleteBodySchema }), undelete)
    .post('/purge', input({ json: PurgeBodySchema }), purge)
    .post('/owner', input({ json: OwnerBodySchema }), setOwner)
    .post('/activate', input({ json: ActivateBodySchema }), activate)
    .post('/scratch', input({ json: ScratchBodySchema }), scratch)
    .post('/check', input({ json: CheckBodySchema }), check);
  app.route('/hosts', routes);
  return app;
}
