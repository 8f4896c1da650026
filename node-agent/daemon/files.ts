/** The files of a generation, from wherever it is got. */
import { Readable } from 'node:stream';
import type { Handler } from 'hono';
import { pathProblem, StorageError } from '../contract.ts';
import type { Storage } from '../storage/storage.ts';
import { readRef } from './input.ts';
import { webStreamOf } from './stream.ts';

/** `GET /v1/projects/:project/:version/files`: by path. */
export function listFiles(storage: Storage): Handler {
  return async (c) => {
    const generation = await storage.open(readRef(c));
    try {
      return c.json({ items: await generation.files(), next_cursor: null });
    } finally {
      await generation.close();
    }
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
    const file = await storage.openFile(readRef(c), path);
    const headers = {
      'content-type': 'application/octet-stream',
      'content-length': String(file.size),
      'x-content-type-options': 'nosniff',
      'content-security-policy': "default-src 'none'; sandbox",
    };
    if (c.req.method === 'HEAD' || file.size === 0) {
      await file.close();
      return c.body(null, 200, headers);
    }
    const stream = Readable.from(file.pieces(), { objectMode: false });
    stream.once('close', () => void file.close());
    return c.body(webStreamOf(stream), 200, headers);
  };
}
