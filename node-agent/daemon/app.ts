import { Hono } from 'hono';
import { requestId } from 'hono/request-id';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import type { Logger } from 'pino';
import { CloudError } from '../cloud/outage.ts';
import type { DaemonConfig } from '../config.ts';
import { StorageError, toProblem } from '../contract.ts';
import type { Storage } from '../storage/storage.ts';
import { serveArchive } from './archive.ts';
import { serveDashboard } from './dashboard.ts';
import { streamEvents } from './events.ts';
import { listFiles, showFile } from './files.ts';
import {
  activateGeneration,
  deleteGeneration,
  downloadGeneration,
  listGenerations,
  openGeneration,
  showGeneration,
  undeleteGeneration,
} from './generations.ts';
import { createGuard } from './guard.ts';
import {
  addHost,
  assignProjects,
  limitHostBody,
  listHosts,
  needsAdminToken,
  revokeHost,
  rotateHostKey,
} from './hosts.ts';
import { endLink, listLinks } from './links.ts';
import { logRequests } from './log.ts';
import type { Metrics } from './metrics.ts';
import { serveOpenApi } from './openapi.ts';
import { deleteProject, diffGenerations, listProjects, undeleteProject } from './projects.ts';
import { saveGeneration } from './save.ts';
import {
  checkReady,
  cleanUp,
  listUploads,
  retryUploads,
  showActivity,
  showMetrics,
  showStatus,
} from './status.ts';
import { serveZip } from './zip.ts';

type Parts = {
  storage: Storage;
  config: DaemonConfig;
  log: Logger;
  metrics: Metrics;
  /** Ends what would not end by itself. */
  closing: AbortSignal;
};

const GENERATION = '/v1/projects/:project/:version';

/** That the cloud refuses our key is no matter of who asks: their token is good. */
function asOurs(error: Error): Error {
  if (!(error instanceof CloudError) || error.outage === null) return error;
  return new StorageError('unavailable', error.message, { cause: error });
}

/** The daemon's HTTP API: its URL table. */
export function createApp({ storage, config, log, metrics, closing }: Parts): Hono {
  const app = new Hono();
  app.onError((error, c) => {
    const known = error instanceof StorageError ? error : null;
    if (known === null) log.error({ request_id: c.var.requestId }, error.stack ?? error.message);
    const problem = toProblem(asOurs(error), c.var.requestId);
    if (problem.status === 401) c.header('www-authenticate', 'Bearer');
    return c.json(problem, problem.status as ContentfulStatusCode, {
      'content-type': 'application/problem+json',
    });
  });
  app.notFound((c) => {
    throw new StorageError('not_found', `Cannot find ${c.req.method} ${c.req.path}`);
  });
  app.use(requestId(), logRequests(log), createGuard(config), serveDashboard());

  app.post('/v1/generations', saveGeneration(storage));
  app.get('/v1/projects', listProjects(storage));
  app.get('/v1/projects/:project', listGenerations(storage));
  app.delete('/v1/projects/:project', deleteProject(storage));
  app.post('/v1/projects/:project/undelete', undeleteProject(storage));
  app.get('/v1/projects/:project/diff', diffGenerations(storage));
  app.get(GENERATION, showGeneration(storage));
  app.delete(GENERATION, deleteGeneration(storage));
  app.post(`${GENERATION}/undelete`, undeleteGeneration(storage));
  app.post(`${GENERATION}/activate`, activateGeneration(storage));
  app.post(`${GENERATION}/open`, openGeneration(storage));
  app.get(`${GENERATION}/download`, downloadGeneration(storage));
  app.get(`${GENERATION}/files`, listFiles(storage));
  app.get(`${GENERATION}/files/:path{.+}`, showFile(storage));
  app.get(`${GENERATION}/archive.tar.gz`, serveArchive(storage));
  app.get(`${GENERATION}/archive.zip`, serveZip(storage));
  app.get(`${GENERATION}/links`, listLinks(storage));
  app.delete(`${GENERATION}/links/:link`, endLink(storage));
  app.use('/v1/hosts/*', needsAdminToken(config), limitHostBody);
  app.get('/v1/hosts', listHosts(storage));
  app.post('/v1/hosts', addHost(storage));
  app.post('/v1/hosts/:host/rotate', rotateHostKey(storage));
  app.post('/v1/hosts/:host/assign', assignProjects(storage));
  app.post('/v1/hosts/:host/revoke', revokeHost(storage));
  app.get('/v1/events', streamEvents(storage, closing));
  app.get('/v1/activity', showActivity(storage));
  app.get('/v1/status', showStatus(storage));
  app.get('/v1/uploads', listUploads(storage));
  app.post('/v1/uploads/retry', retryUploads(storage));
  app.post('/v1/cleanup', cleanUp(storage));
  app.get(
    '/openapi.json',
    serveOpenApi(() => app.routes),
  );
  app.get('/healthz', (c) => c.json({ status: 'ok' }));
  app.get('/readyz', checkReady(storage));
  app.get('/metrics', showMetrics(storage, metrics, log));
  return app;
}
