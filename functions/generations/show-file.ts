import { contentTypeOf } from '../_shared/content-type.ts';
import type { FileParamSchema, FileQuerySchema } from '../_shared/contract/api.ts';
import { StorageError } from '../_shared/contract/errors.ts';
import { EDGE_LIMITS } from '../_shared/contract/limits.ts';
import { formatRef } from '../_shared/contract/ref.ts';
import type { UserContext } from './context.ts';
import { fileTooLarge, findFiles } from './files.ts';

type Input = { param: typeof FileParamSchema; query: typeof FileQuerySchema };

/** `GET /projects/:project/:version/files/*path`: one file, out of the archive. */
export async function showFile(c: UserContext<Input>): Promise<Response> {
  const { path, ...param } = c.req.valid('param');
  const { generation, folder } = c.req.valid('query');
  const { row, files, read } = await findFiles(c, { ...param, generation }, folder, [path]);
  const listed = files?.[0];
  if (files !== null && listed === undefined) throw notThere(path, param);
  if (listed !== undefined) {
    if (listed.size > EDGE_LIMITS.fileBytes) throw await fileTooLarge(c, row, path);
    // What the browser has is good: no need to read the archive.
    if (isKnown(c, listed.sha256)) return c.body(null, 304, headersOf(listed.sha256));
  }
  const [file] = await read();
  if (file === undefined) throw notThere(path, param);
  if (isKnown(c, file.sha256)) return c.body(null, 304, headersOf(file.sha256));
  return c.body(file.bytes.slice().buffer as ArrayBuffer, 200, {
    ...headersOf(file.sha256),
    'content-type': contentTypeOf(path, file.bytes),
    'content-length': String(file.bytes.length),
    'x-content-type-options': 'nosniff',
    // Whatever it is, nothing of it runs, should a browser ever open it as a page.
    'content-security-policy': "default-src 'none'; sandbox",
  });
}

function headersOf(sha256: string): Record<string, string> {
  // Kept by the one who asked, and asked for again each time: who may see it can change.
  return { etag: `"${sha256}"`, 'cache-control': 'private, no-cache', vary: 'authorization' };
}

function isKnown(c: UserContext<Input>, sha256: string): boolean {
  const tags = (c.req.header('if-none-match') ?? '').split(',').map((tag) => tag.trim());
  return tags.some((tag) => tag === '*' || tag.replace(/^W\//, '') === `"${sha256}"`);
}

function notThere(path: string, { project, version }: { project: string; version: number }) {
  const name = formatRef({ projectId: project, version });
  const message = `Cannot find ${JSON.stringify(path)} in ${name}`;
  return new StorageError('not_found', message);
}
