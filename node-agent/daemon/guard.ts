import { createHash, timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import type { MiddlewareHandler } from 'hono';
import type { DaemonConfig } from '../config.ts';
import { StorageError } from '../contract.ts';
import { PAGE_PATHS } from './dashboard.ts';

/** What needs no token: it tells nothing, and probes have none. The page asks for it. */
const OPEN_PATHS = new Set(['/healthz', '/readyz', ...PAGE_PATHS]);
/** What may carry a signature instead: its route checks that. */
const SIGNED_PATH = /^\/v1\/projects\/[^/]+\/[^/]+\/archive\.tar\.gz$/;

/**
 * Refuses what a page in somebody's browser could send: requests under a name that is not this
 * host's (DNS rebinding) or of another origin; and what has no token where one is set.
 */
export function createGuard({
  host,
  publicUrl,
  token,
  adminToken,
}: DaemonConfig): MiddlewareHandler {
  const publicHost = publicUrl === null ? null : new URL(publicUrl).host;
  const publicOrigin = publicUrl === null ? null : new URL(publicUrl).origin;
  const names = new Set(['localhost', host.toLowerCase()]);

  /** A name can be made to point here by anybody; an address cannot. */
  function isOurs(authority: string): boolean {
    if (authority === publicHost) return true;
    const url = `http://${authority}`;
    if (!URL.canParse(url)) return false;
    const name = new URL(url).hostname.replace(/^\[|\]$/g, '');
    return names.has(name) || isIP(name) !== 0;
  }

  return async (c, next) => {
    const authority = c.req.header('host')?.toLowerCase() ?? '';
    if (!isOurs(authority)) {
      throw new StorageError(
        'forbidden',
        'Cannot answer: the Host header names another host. AGENT_PUBLIC_URL can allow it',
      );
    }
    const origin = c.req.header('origin');
    const own = [`http://${authority}`, publicOrigin];
    if (origin !== undefined && !own.includes(origin.toLowerCase())) {
      throw new StorageError('forbidden', 'Cannot answer: the request is from another origin');
    }
    const isSigned = SIGNED_PATH.test(c.req.path) && c.req.query('signature') !== undefined;
    if (token !== null && !isSigned && !OPEN_PATHS.has(c.req.path)) {
      // Whoever looks after hosts may do the rest too.
      const tokens = adminToken === null ? [token] : [token, adminToken];
      checkToken(c.req.header('authorization'), tokens, 'AGENT_TOKEN');
    }
    await next();
  };
}

/**
 * @param tokens that are taken
 * @param name of the one that is asked for
 * @throws StorageError `unauthenticated`
 */
export function checkToken(
  authorization: string | undefined,
  tokens: readonly string[],
  name: string,
): void {
  const given = /^Bearer (\S+)$/i.exec(authorization ?? '')?.[1] ?? '';
  // Compared as hashes, which have one length: time tells nothing of the token.
  const hash = (text: string) => createHash('sha256').update(text).digest();
  if (tokens.some((token) => timingSafeEqual(hash(given), hash(token)))) return;
  throw new StorageError(
    'unauthenticated',
    `Cannot answer: the request needs ${name} as its bearer token`,
  );
}
