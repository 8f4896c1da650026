import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type PassThrough, Readable, Transform } from 'node:stream';
import type { Handler } from 'hono';
import yazl from 'yazl';
import type { Storage } from '../agent.ts';
import { formatRef, type ManifestEntry, StorageError } from '../contract.ts';
import { readRef } from './input.ts';

/**
 * `GET /v1/projects/:project/:version/archive.zip`: the source as a zip, made as it streams. The
 * connection is cut where a file is not what was saved: what arrived is no zip then.
 */
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
    const output = zip.outputStream as PassThrough;
    // Of a file that cannot be read the zip hears nothing by itself, and would wait for ever.
    const fail = (error: Error) => void output.destroy(error);
    zip.once('error', fail);
    let reading: Readable | null = null;
    const mtime = new Date(manifest.created_at);
    const entries = new Map(manifest.entries?.map((entry) => [entry.path, entry]));
    for (const path of manifest.files) {
      const file = join(sourcePath, path);
      const { mode, size } = await stat(file).catch((cause: unknown) => {
        const name = `${JSON.stringify(path)} of ${formatRef(generation)}`;
        throw new StorageError('corrupt', `Cannot zip ${name}: it is missing`, { cause });
      });
      // Opened when its turn has come, not all at once.
      zip.addReadStreamLazy(`source/${path}`, { mode, size, mtime }, (done) => {
        reading = createReadStream(file).once('error', fail);
        const entry = entries.get(path);
        done(
          null,
          entry === undefined ? reading : reading.pipe(compare(entry).once('error', fail)),
        );
      });
    }
    zip.end();
    // Who went away leaves no file open.
    output.once('close', () => reading?.destroy());
    return c.body(Readable.toWeb(output) as ReadableStream, 200, headers);
  };
}

/** Passes a file on, and fails at its end where it is not what was saved. */
function compare({ path, sha256 }: ManifestEntry): Transform {
  const hash = createHash('sha256');
  return new Transform({
    transform(piece: Buffer, _, done) {
      hash.update(piece);
      done(null, piece);
    },
    flush(done) {
      if (hash.digest('hex') === sha256) return done();
      done(
        new StorageError('corrupt', `Cannot zip ${JSON.stringify(path)}: it is not what it was`),
      );
    },
  });
}
