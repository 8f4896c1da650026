import { createReadStream, type ReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { Handler } from 'hono';
import yazl from 'yazl';
import type { Storage } from '../agent.ts';
import { formatRef, StorageError } from '../contract.ts';
import { readRef } from './input.ts';

/** `GET /v1/projects/:project/:version/archive.zip`: the source as a zip, made as it streams. */
export function serveZip(storage: Storage): Handler {
  return async (c) => {
    const generation = await storage.get(readRef(c));
    const { projectId, version, manifest, sourcePath } = generation;
    const headers = {
      'content-type': 'application/zip',
      'content-disposition': `attachment; filename="${projectId}-v${version}.zip"`,
    };
    if (c.req.method === 'HEAD') return c.body(null, 200, headers);
    const zip = new yazl.ZipFile();
    let reading: ReadStream | null = null;
    const mtime = new Date(manifest.created_at);
    for (const path of manifest.files) {
      const file = join(sourcePath, path);
      const { mode, size } = await stat(file).catch((cause: unknown) => {
        const name = `${JSON.stringify(path)} of ${formatRef(generation)}`;
        throw new StorageError('corrupt', `Cannot zip ${name}: it is missing`, { cause });
      });
      // Opened when its turn has come, not all at once.
      zip.addReadStreamLazy(`source/${path}`, { mode, size, mtime }, (done) => {
        reading = createReadStream(file);
        done(null, reading);
      });
    }
    zip.end();
    const output = Readable.from(zip.outputStream, { objectMode: false });
    zip.once('error', (error) => output.destroy(error as Error));
    // Who went away leaves no file open.
    output.once('close', () => reading?.destroy());
    return c.body(Readable.toWeb(output) as ReadableStream, 200, headers);
  };
}
