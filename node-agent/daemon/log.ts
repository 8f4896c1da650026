import type { MiddlewareHandler } from 'hono';
import { destination, type Logger, pino } from 'pino';
import type { LogLevel } from '../config.ts';
import type { EventKind, OnEvent } from '../events/events.ts';
import { toWire } from '../events/wire.ts';

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

/** How loud each event is. A request has a line of its own, and a failed attempt its problem. */
export const EVENT_LEVELS: Readonly<Record<EventKind, 'debug' | 'info' | 'warn'>> = {
  save: 'debug',
  upload: 'debug',
  verified: 'debug',
  get: 'debug',
  settled: 'debug',
  evict: 'debug',
  attempt_failed: 'debug',
  delete: 'info',
  deleted_elsewhere: 'info',
  renumbered: 'info',
  cloud_back: 'info',
  conflict: 'warn',
  lost: 'warn',
  cloud_away: 'warn',
  cloud_older: 'warn',
  problem: 'warn',
};

/** Logs what happens: each event is a line, with what it is about. */
export function logEvents(log: Logger): OnEvent {
  return ({ at: _, ...event }) => {
    if (event.kind === 'problem') {
      const { code, reason } = event;
      log[code === 'internal' ? 'error' : EVENT_LEVELS.problem]({ code }, reason);
      return;
    }
    const { kind, ...about } = toWire(event) as { kind: EventKind };
    log[EVENT_LEVELS[kind]]({ event: kind, ...about }, kind);
  };
}
