import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import type { Logger } from 'pino';
import type { DaemonConfig } from '../config.ts';
import { StorageError } from '../contract.ts';
import { fromFileSystem } from '../disk/file-errors.ts';
import type { Storage } from '../storage/storage.ts';
import { createApp } from './app.ts';
import type { Metrics } from './metrics.ts';

export type Daemon = {
  /** The address it listens on. */
  url: string;
  /** Takes no more requests and lets those that run finish for a bounded time. */
  close(): Promise<void>;
};

/** Every address of this host, none of which others know. */
const WILDCARDS: ReadonlySet<string> = new Set(['0.0.0.0', '::', '*']);
/** The metadata of a tar are in its query. */
const MAX_HEADER_BYTES = 128 * 1024;
/** How long an idle connection is kept: longer than clients do, so that none is closed as they use it. */
const KEEP_ALIVE_MS = 65_000;
/** How long requests that run may take to finish at the end, in milliseconds. */
const FINISH_MS = 5000;
const IDLE_POLL_MS = 20;

/**
 * Serves a storage over HTTP.
 *
 * @throws StorageError `conflict` where the port is taken, `invalid_input` where the address is not ours
 */
export async function serve(parts: {
  storage: Storage;
  config: DaemonConfig;
  log: Logger;
  metrics: Metrics;
}): Promise<Daemon> {
  const { storage, config, log } = parts;
  const closing = new AbortController();
  const server = createAdaptorServer({
    fetch: createApp({ ...parts, closing: closing.signal }).fetch,
    serverOptions: { maxHeaderSize: MAX_HEADER_BYTES, keepAliveTimeout: KEEP_ALIVE_MS },
  });
  server.listen(config.port, config.host);
  try {
    await once(server, 'listening');
  } catch (error) {
    throw cannotListen(error, config);
  }
  const { port } = server.address() as AddressInfo;
  const host = config.host.includes(':') ? `[${config.host}]` : config.host;
  const url = `http://${host}:${port}`;
  const reached = config.publicUrl ?? (WILDCARDS.has(config.host) ? null : url);
  if (reached !== null) announce(storage, reached, log);
  else
    log.warn('no download URLs lead here: AGENT_PUBLIC_URL is to say how others reach this host');
  return {
    url,
    async close() {
      closing.abort();
      const closed = once(server, 'close');
      server.close();
      const timer = setTimeout(
        () => 'closeAllConnections' in server && server.closeAllConnections(),
        FINISH_MS,
      );
      // A connection is idle once what was asked for by it is answered.
      const closeIdle = () => 'closeIdleConnections' in server && server.closeIdleConnections();
      closeIdle();
      const idle = setInterval(closeIdle, IDLE_POLL_MS);
      await closed;
      clearTimeout(timer);
      clearInterval(idle);
    },
  };
}

/** It serves all the same where that cannot be noted, as on a full disk. */
function announce(storage: Storage, url: string, log: Logger): void {
  try {
    storage.announce(url);
  } catch (error) {
    const told = fromFileSystem(error, 'note for other commands that this daemon runs');
    log.warn(told instanceof Error ? told.message : String(told));
  }
}

function cannotListen(error: unknown, { host, port }: DaemonConfig): StorageError {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  const [kind, why] =
    code === 'EADDRINUSE'
      ? (['conflict', 'another process listens there. Set AGENT_PORT to another port'] as const)
      : (['invalid_input', `${code}. AGENT_HOST must be an address of this host`] as const);
  return new StorageError(kind, `Cannot listen on ${host}:${port}: ${why}`, { cause: error });
}
