import { type PassThrough, Readable } from 'node:stream';
import type { Handler } from 'hono';
import yazl from 'yazl';
import { formatManifest } from '../archive/pack.ts';
import { DEFAULT_MODE, entryNameOf, type FileEntry, type Folder } from '../contract.ts';
import type { OpenGeneration } from '../read/open.ts';
import type { Storage } from '../storage/storage.ts';
import { readRef } from './input.ts';
import { webStreamOf } from './stream.ts';

/**
 * `GET /v1/projects/:project/:version/archive.zip`: a zip with the names of the archive, made as it
 * streams. The connection is cut where a file is not what was saved: what arrived is no zip then.
 */
export function serveZip(storage: Storage): Handler {
  return async (c) => {
    const generation = await storage.open(readRef(c), { isWhole: true });
    const { projectId, version, manifest } = generation;
    const inFolder = (folder: Folder, entries: readonly FileEntry[]) =>
      entries.map((entry) => ({
        name: entryNameOf({ folder, path: entry.path }),
        entry,
        read: () => generation.read(entry.path, folder),
      }));
    const headers = {
      'content-type': 'application/zip',
      'content-disposition': `attachment; filename="${projectId}-v${version}.zip"`,
    };
    try {
      const files = [
        ...inFolder('source', await generation.files()),
        ...inFolder('artifacts', manifest.artifacts ?? []),
      ];
      if (c.req.method !== 'HEAD')
        return c.body(webStreamOf(zipOf(generation, files)), 200, headers);
    } catch (error) {
      await generation.close();
      throw error;
    }
    await generation.close();
    return c.body(null, 200, headers);
  };
}

type ZippedFile = Readonly<{
  name: string;
  entry: FileEntry;
  read: () => AsyncIterable<Uint8Array>;
}>;

/** Fails where a file is not what was saved. The generation is closed with it. */
function zipOf(generation: OpenGeneration, files: readonly ZippedFile[]): PassThrough {
  const { manifest } = generation;
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
  for (const { name, entry, read } of files) {
    const { size, mode } = entry;
    // Read when its turn has come, not all at once.
    zip.addReadStreamLazy(name, { mode: 0o100000 | mode, size, mtime }, (done) => {
      reading = Readable.from(read(), { objectMode: false }).once('error', fail);
      done(null, reading);
    });
  }
  zip.end();
  // Who went away leaves no file open.
  output.once('close', () => {
    reading?.destroy();
    void generation.close();
  });
  return output;
}
