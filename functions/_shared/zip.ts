import { deflateSync, Zip, ZipDeflate, ZipPassThrough } from 'fflate';
import { concatBytes, readBytes, streamOf } from './stream.ts';

/** A file to put into a zip. */
export type ZipFile = Readonly<{
  name: string;
  /** Bytes. */
  size: number;
  mode: number;
  body: AsyncIterable<Uint8Array>;
}>;

/** Pieces that are given out are not smaller than this, but for the last. */
const PIECE_BYTES = 64 * 1024;
/** "Made by" Unix, so that readers take the mode from the upper half of the attributes. */
const UNIX = 3;
/** Files up to this size are deflated in one go, which takes half the time for small ones. */
const AT_ONCE_BYTES = 256 * 1024;
const REGULAR_FILE = 0o100000;

/**
 * Packs files into a zip as they come, in constant memory. Sizes follow the content (APPNOTE.TXT
 * 4.3.9), since they are not known before.
 *
 * @param mtime of every file
 */
export function zipFiles(files: AsyncIterable<ZipFile>, mtime: Date): ReadableStream<Uint8Array> {
  return streamOf(zip(files, mtime));
}

async function* zip(files: AsyncIterable<ZipFile>, mtime: Date): AsyncGenerator<Uint8Array> {
  let pieces: Uint8Array[] = [];
  let bytes = 0;
  const zip = new Zip((error, piece) => {
    if (error) throw error;
    pieces.push(piece);
    bytes += piece.length;
  });
  const take = () => {
    const taken = concatBytes(pieces, bytes);
    pieces = [];
    bytes = 0;
    return taken;
  };
  for await (const file of files) {
    const atOnce = file.size <= AT_ONCE_BYTES;
    const entry = atOnce ? new DeflatedAtOnce(file.name) : new ZipDeflate(file.name);
    entry.os = UNIX;
    entry.attrs = ((REGULAR_FILE | file.mode) << 16) >>> 0;
    entry.mtime = mtime;
    zip.add(entry);
    if (atOnce) entry.push(await readBytes(file.body, file.size), true);
    else {
      for await (const piece of file.body) {
        entry.push(piece);
        if (bytes >= PIECE_BYTES) yield take();
      }
      entry.push(new Uint8Array(0), true);
    }
    if (bytes >= PIECE_BYTES) yield take();
  }
  zip.end();
  yield take();
}

/** A file whose whole content is pushed at once. */
class DeflatedAtOnce extends ZipPassThrough {
  override compression = 8;

  override process(content: Uint8Array, final: boolean): void {
    this.ondata(null, deflateSync(content), final);
  }
}
