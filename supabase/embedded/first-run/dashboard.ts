import { StorageError } from '../../../node-agent/contract.ts';
import { createLogger } from '../../../node-agent/daemon/log.ts';
import type { Metrics } from '../../../node-agent/daemon/metrics.ts';
import { type Daemon, serve } from '../../../node-agent/daemon/serve.ts';
import type { Storage } from '../../../node-agent/index.ts';

/** Serves the page of the agent's daemon, and its API: at the usual port, or where that is taken at a free one. */
export async function serveDashboard(storage: Storage, metrics: Metrics): Promise<Daemon> {
  const log = createLogger('error');
  const at = (port: number): Promise<Daemon> => {
    const own = {
      host: '127.0.0.1',
      publicUrl: null,
      token: null,
      adminToken: null,
      logLevel: 'error',
    } as const;
    return serve({ storage, config: { ...own, port }, log, metrics });
  };
  try {
    return await at(8787);
  } catch (error) {
    if (error instanceof StorageError && error.code === 'conflict') return at(0);
    throw error;
  }
}
