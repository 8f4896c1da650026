import { createHash } from 'node:crypto';
import { type PassThrough, type Readable, Transform } from 'node:stream';
import type { Handler } from 'hono';
import yazl from 'yazl';
import { formatManifest } from '../archive/pack.ts';
import {
  DEFAULT_MODE,
  entryNameOf,
  type Folder,
  type ManifestEntry,
  StorageError,
} from '../contract.ts';
import type { Storage } from '../storage/storage.ts';
import { readRef } from './input.ts';
import { webStreamOf } from './stream.ts';

/** Files that are looked at at once, before the first byte is sent. */
const LOOKED_AT_ONCE = 32;

/**
 * `GET /v1/projects/:project/:version/archive.zip`: a zip with the names of the archive, made as it
 * streams. The connection is cut where a file is not what was saved: what arrived is no zip then.
 */
export function serveZip(storage: Storage): Handler {
  return async (c) => {
    const generation = await storage.get(readRef(c));
    const { projectId, version, manifest } = generation;
    const inFolder = (folder: Folder, entries: readonly ManifestEntry[]) =>
      entries.map((entry) => ({
        name: entryNameOf({ folder, path: entry.path }),
        entry,
        open: () => storage.openFile(generation, entry.path, folder),
      }));
    const files = [
      ...inFolder('source', await storage.files(generation)),
      ...inFolder('artifacts', manifest.artifacts ?? []),
    ];
    // Before anything is sent: each is there, and is what it is said to be.
    for (let begin = 0; begin < files.length; begin += LOOKED_AT_ONCE) {
      const some = files.slice(begin, begin + LOOKED_AT_ONCE);
      await Promise.all(some.map(async ({ open }) => (await open()).close()));
    }
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
    const manifestName = entryNameOf({ folder: null, path: 'manifest.json' });
    zip.addBuffer(Buffer.from(formatManifest(manifest)), manifestName, {
      mode: 0o100000 | DEFAULT_MODE,
      mtime,
    });
    for (const { name, entry, open } of files) {
      const { size, mode } = entry;
      // Opened when its turn has come, not all at once.
      zip.addReadStreamLazy(name, { mode: 0o100000 | mode, size, mtime }, (done) => {
        open().then((handle) => {
          reading = handle.createReadStream().once('error', fail);
          done(null, reading.pipe(compare(entry).once('error', fail)));
        }, fail);
      });
    }
    zip.end();
    // Who went away leaves no file open.
    output.once('close', () => reading?.destroy());
    return c.body(webStreamOf(output), 200, headers);
  };
}

/** Passes a file on, and fails where it is not what was saved: at once where it is longer. */
function compare({ path, size, sha256 }: ManifestEntry): Transform {
  const hash = createHash('sha256');
  let bytes = 0;
  const differs = () =>
    new StorageError('corrupt', `Cannot zip ${JSON.stringify(path)}: it is not what it was`);
  return new Transform({
    transform(piece: Buffer, _, done) {
      bytes += piece.length;
      if (bytes > size) return done(differs());
      hash.update(piece);
      done(null, piece);
    },
    flush(done) {
      done(hash.digest('hex') === sha256 ? null : differs());
    },
  });
}
