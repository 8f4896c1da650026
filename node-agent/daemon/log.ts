import type { MiddlewareHandler } from 'hono';
import { destination, type Logger, pino } from 'pino';
import type { LogLevel } from '../config.ts';
import { StorageError } from '../contract.ts';

/** Wherever they turn up in what is logged, these are not written. */
const SECRETS = ['authorization', 'token', 'key', 'signature', 'apikey', 'cookie'];

/** Makes the log: JSON lines on standard error. */
export function createLogger(level: LogLevel): Logger {
  return pino(
    {
      level,
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: SECRETS.flatMap((name) => [name, `*.${name}`]), censor: '[hidden]' },
    },
    destination({ fd: 2, sync: true }),
  );
}

/** Logs each request: its path without the query, which may hold a signature. */
export function logRequests(log: Logger): MiddlewareHandler {
  return async (c, next) => {
    const began = performance.now();
    await next();
    const { method, path } = c.req;
    const ms = Math.round(performance.now() - began);
    const level = c.res.status >= 500 ? 'error' : 'info';
    log[level]({ request_id: c.var.requestId, method, path, status: c.res.status, ms }, 'request');
  };
}

/** Logs what went wrong in the background: its message and code, never what a foreign error holds. */
export function logProblem(log: Logger): (error: unknown) => void {
  return (error) => {
    if (error instanceof StorageError) log.warn({ code: error.code }, error.message);
    else
      log.error(
        { code: 'internal' },
        error instanceof Error ? (error.stack ?? error.message) : String(error),
      );
  };
}
