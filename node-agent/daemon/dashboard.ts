/** The page at the daemon's address: a few files that are built from `node-agent/dashboard`. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { MiddlewareHandler } from 'hono';
import { packageFile } from '../disk/package-file.ts';

/** By the path that they are asked for under: the file, and what it is. */
const FILES: Readonly<Record<string, readonly [name: string, type: string]>> = {
  '/': ['index.html', 'text/html; charset=utf-8'],
  '/dashboard/app.js': ['app.js', 'text/javascript; charset=utf-8'],
  '/dashboard/app.css': ['app.css', 'text/css; charset=utf-8'],
};

/** Paths of the page itself: they hold nothing of what is kept. */
export const PAGE_PATHS = Object.keys(FILES);

/** Nothing from elsewhere, nothing within the page itself, in no frame of others. */
const HEADERS = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ].join('; '),
  'cross-origin-opener-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  // It is asked whether it is still the same: after an upgrade it is not.
  'cache-control': 'no-cache',
};

type Page = Readonly<{ bytes: Uint8Array<ArrayBuffer>; etag: string }>;

/** Answers with the page. No route of the API: that is described, and this is looked at. */
export function serveDashboard(): MiddlewareHandler {
  const pages = new Map<string, Promise<Page>>();
  return async (c, next) => {
    const file = FILES[c.req.path];
    if (file === undefined || !['GET', 'HEAD'].includes(c.req.method)) return next();
    const [name, type] = file;
    if (!pages.has(name)) pages.set(name, readPage(name));
    const { bytes, etag } = await pages.get(name)!;
    const headers = { ...HEADERS, 'content-type': type, etag };
    if (c.req.header('if-none-match') === etag) return c.body(null, 304, headers);
    return c.body(bytes, 200, headers);
  };
}

/** Beside what is built; for what runs from its source, where it is built to. */
function folderOfPage(): string {
  const beside = join(import.meta.dirname, 'dashboard');
  return existsSync(beside) ? beside : packageFile('dist/node-agent/dashboard');
}

async function readPage(name: string): Promise<Page> {
  const bytes = new Uint8Array(await readFile(join(folderOfPage(), name)));
  const hash = createHash('sha256').update(bytes).digest('base64url');
  return { bytes, etag: `"${hash}"` };
}
