/** The files of a generation, from wherever it is got. */
import { createReadStream } from 'node:fs';
import { lstat, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { Handler } from 'hono';
import type { Storage } from '../agent.ts';
import { formatRef, type ManifestEntry, pathProblem, StorageError } from '../contract.ts';
import { listFiles as listFilesOf } from '../list-files.ts';
import { hasContent } from '../store/hash.ts';
import type { RefInput } from '../types.ts';
import { readRef } from './input.ts';

/** `GET /v1/projects/:project/:version/files`: by path. */
export function listFiles(storage: Storage): Handler {
  return async (c) => {
    const items = await listFilesOf(await storage.get(readRef(c)));
    return c.json({ items, next_cursor: null });
  };
}

/** `GET /v1/projects/:project/:version/files/*path`: one file, as bytes: never as a page. */
export function showFile(storage: Storage): Handler {
  return async (c) => {
    const path = c.req.param('path') ?? '';
    const problem = pathProblem(path);
    if (problem !== null) {
      throw new StorageError(
        'invalid_input',
        `Cannot use path ${JSON.stringify(path)}: ${problem}`,
      );
    }
    const ref = readRef(c);
    const { sourcePath, manifest } = await storage.get(ref);
    // What is listed, and lies where it seems to: what the Python system left may hold links.
    const file = join(await realpath(sourcePath), path);
    const isListed = manifest.files.includes(path);
    const stat = isListed && (await isItself(file)) ? await lstat(file) : null;
    await checkContent(
      ref,
      file,
      manifest.entries?.find((entry) => entry.path === path),
    );
    if (!stat?.isFile()) {
      const message = `Cannot find ${JSON.stringify(path)} in ${formatRef(ref)}`;
      throw new StorageError('not_found', message);
    }
    const headers = {
      'content-type': 'application/octet-stream',
      'content-length': String(stat.size),
      'x-content-type-options': 'nosniff',
      'content-security-policy': "default-src 'none'; sandbox",
    };
    if (c.req.method === 'HEAD') return c.body(null, 200, headers);
    const body = Readable.toWeb(createReadStream(file)) as ReadableStream;
    return c.body(body, 200, headers);
  };
}

/** Larger files are compared by their size alone: they would be read twice. */
const HASHED_BYTES = 16 * 1024 * 1024;

/** @throws StorageError `corrupt` where what lies here is not what was saved */
async function checkContent(ref: RefInput, file: string, entry?: ManifestEntry): Promise<void> {
  if (entry === undefined) return;
  const size = (await lstat(file).catch(() => null))?.size;
  const isSame = size === entry.size && (size > HASHED_BYTES || (await hasContent(file, entry)));
  if (isSame) return;
  const name = `${JSON.stringify(entry.path)} of ${formatRef(ref)}`;
  throw new StorageError('corrupt', `Cannot read ${name}: it is not what was saved`);
}

/** Whether no part of a path is a link. */
async function isItself(path: string): Promise<boolean> {
  return (await realpath(path).catch(() => null)) === path;
}
