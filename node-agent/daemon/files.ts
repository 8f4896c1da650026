/** The files of a generation, from wherever it is got. */
import { Readable } from 'node:stream';
import type { Handler } from 'hono';
import { pathProblem, StorageError } from '../contract.ts';
import type { Storage } from '../storage/storage.ts';
import { readRef } from './input.ts';
import { sendPart } from './partial.ts';
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

/** `GET /v1/projects/:project/:version/files/*path`: one file or a part of it, as bytes: never as a page. */
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
    let isOpened = false;
    try {
      return await sendPart(c, {
        size: file.size,
        sha256: file.sha256,
        headers: {
          'content-type': 'application/octet-stream',
          'content-security-policy': "default-src 'none'; sandbox",
          'cache-control': 'private, no-cache',
        },
        async open(begin, end) {
          isOpened = true;
          const stream = Readable.from(partOf(file.pieces(), begin, end), { objectMode: false });
          stream.once('close', () => void file.close());
          return webStreamOf(stream);
        },
      });
    } finally {
      if (!isOpened) await file.close();
    }
  };
}

/** All of it is read: it is compared with what was saved. */
async function* partOf(
  pieces: AsyncIterable<Uint8Array>,
  begin: number,
  end: number,
): AsyncGenerator<Uint8Array> {
  let at = 0;
  for await (const piece of pieces) {
    const from = Math.max(0, begin - at);
    const to = Math.min(piece.length, end - at);
    if (from < to) yield piece.subarray(from, to);
    at += piece.length;
  }
}
