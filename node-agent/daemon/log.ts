import type { MiddlewareHandler } from 'hono';
import { destination, type Logger, pino } from 'pino';
import type { Config, LogLevel } from '../config.ts';
import { toProblem } from '../contract.ts';
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

/** What it is that runs, and what on. */
export function logStart(
  log: Logger,
  { version, url }: { version: string; url: string },
  { storePath, cloud }: Pick<Config, 'storePath' | 'cloud'>,
): void {
  const where = cloud === null ? 'off' : `${cloud.url}, bucket "${cloud.bucket}"`;
  log.info({ version, url, store: storePath, cloud: where }, 'started');
}

/** The generation that a request is about, by its path. */
const ABOUT = /^\/v1\/projects\/([^/]{1,128})(?:\/(\d{1,10})(?:\/|$))?/;

/** What a request was about that its path does not say, noted by who answers it. */
export type LogVariables = { about?: { project_id: string; version: number } };

/** Logs each request: its path without the query, which may hold a signature. */
export function logRequests(log: Logger): MiddlewareHandler<{ Variables: LogVariables }> {
  return async (c, next) => {
    const began = performance.now();
    await next();
    const { method, path } = c.req;
    const { status } = c.res;
    const ms = Math.round(performance.now() - began);
    const line = { request_id: c.var.requestId, method, path, status, ms };
    const failure = c.error === undefined ? {} : { code: toProblem(c.error).code };
    const level = status >= 500 ? 'error' : 'info';
    log[level]({ ...line, ...(c.var.about ?? aboutOf(path)), ...failure }, 'request');
  };
}

function aboutOf(path: string): { project_id?: string; version?: number } {
  const [, project, version] = ABOUT.exec(path) ?? [];
  if (project === undefined) return {};
  return { project_id: project, ...(version === undefined ? {} : { version: Number(version) }) };
}

/** How loud each event is. A request has a line of its own, a failed attempt its problem, an upload ends verified. */
export const EVENT_LEVELS: Readonly<Record<EventKind, 'debug' | 'info' | 'warn'>> = {
  'generation.saved': 'debug',
  'generation.unchanged': 'debug',
  'generation.settled': 'debug',
  'generation.uploaded': 'debug',
  'generation.verified': 'info',
  'generation.read': 'debug',
  'generation.deleted': 'info',
  'generation.undeleted': 'info',
  'generation.renumbered': 'info',
  'generation.failed': 'warn',
  'generation.conflict': 'warn',
  'generation.damaged': 'warn',
  'generation.lost': 'warn',
  'cloud.back': 'info',
  'cloud.away': 'warn',
  'cloud.older': 'warn',
  'store.evicted': 'debug',
  'attempt.failed': 'debug',
  problem: 'warn',
};

/** How long the same problem is not told of again, in milliseconds. */
const SAME_MS = 60_000;

/** Logs what happens: each event is a line, with what it is about. */
export function logEvents(log: Logger): OnEvent {
  let last = { reason: '', at: Number.NEGATIVE_INFINITY };
  return ({ at: _, ...event }) => {
    if (event.kind === 'problem') {
      const { code, reason } = event;
      // What is tried again and again is told of once a minute.
      const now = performance.now();
      if (reason === last.reason && now - last.at < SAME_MS) return;
      last = { reason, at: now };
      log[code === 'internal' ? 'error' : EVENT_LEVELS.problem]({ event: 'problem', code }, reason);
      return;
    }
    const { kind, ...about } = toWire(event) as { kind: EventKind };
    log[EVENT_LEVELS[kind]]({ event: kind, ...about }, kind);
  };
}
