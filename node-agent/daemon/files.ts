/** The files of a generation, from wherever it is got. */
import type { FileHandle } from 'node:fs/promises';
import type { Handler } from 'hono';
import { formatRef, type ManifestEntry, pathProblem, StorageError } from '../contract.ts';
import type { LocalGeneration } from '../read/get.ts';
import type { Storage } from '../storage/storage.ts';
import { hasContent } from '../store/hash.ts';
import { readRef } from './input.ts';
import { webStreamOf } from './stream.ts';

/** `GET /v1/projects/:project/:version/files`: by path. */
export function listFiles(storage: Storage): Handler {
  return async (c) => {
    const items = await storage.files(await storage.get(readRef(c)));
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
    const generation = await storage.get(readRef(c));
    const { manifest } = generation;
    // What is listed alone: beside it anything may lie.
    if (!manifest.files.includes(path)) {
      const message = `Cannot find ${JSON.stringify(path)} in ${formatRef(generation)}`;
      throw new StorageError('not_found', message);
    }
    const handle = await storage.openFile(generation, path);
    try {
      const { size } = await handle.stat();
      const entry = manifest.entries?.find((known) => known.path === path);
      if (entry !== undefined) await checkContent(generation, handle, size, entry);
      const headers = {
        'content-type': 'application/octet-stream',
        'content-length': String(size),
        'x-content-type-options': 'nosniff',
        'content-security-policy': "default-src 'none'; sandbox",
      };
      if (c.req.method === 'HEAD' || size === 0) {
        await handle.close();
        return c.body(null, 200, headers);
      }
      // Which closes it. No more than was promised, although it may grow.
      const stream = handle.createReadStream({ start: 0, end: size - 1 });
      return c.body(webStreamOf(stream), 200, headers);
    } catch (error) {
      await handle.close();
      throw error;
    }
  };
}

/** Larger files are compared by their size alone: they would be read twice. */
const HASHED_BYTES = 16 * 1024 * 1024;

/** @throws StorageError `corrupt` where what lies here is not what was saved */
async function checkContent(
  generation: LocalGeneration,
  handle: FileHandle,
  size: number,
  entry: ManifestEntry,
): Promise<void> {
  const isSame = size === entry.size && (size > HASHED_BYTES || (await hasContent(handle, entry)));
  if (isSame) return;
  const name = `${JSON.stringify(entry.path)} of ${formatRef(generation)}`;
  throw new StorageError('corrupt', `Cannot read ${name}: it is not what was saved`);
}
