import { type Dirent, opendirSync } from 'node:fs';
import { join } from 'node:path';
import { type Limits, StorageError } from '../contract.ts';

/** What a walk comes upon. */
export type Walked = Readonly<{
  /** Relative to where the walk began, with `/`. */
  path: string;
  /** `unnamed`: its name is not UTF-8, and its path only shows it. */
  kind: 'file' | 'folder' | 'link' | 'special' | 'unnamed';
}>;

type WalkOptions = Readonly<{
  limits: Limits;
  /** Whether something is passed over, and a folder not gone into. */
  passes?: (path: string, isFolder: boolean) => boolean;
  /** How much was seen before: of walks that belong together one count is kept. */
  seen?: { count: number };
}>;

/**
 * Lists what lies below a folder, in no order. Links are told of and never followed, so that there is
 * an end to it; how deep it goes and how much it reads is bounded by the limits.
 *
 * @param root absolute
 * @throws StorageError `too_large` where there is more than a generation may have, `invalid_input`
 *   that names a path which is too long; what the file system says
 */
export function* walk(
  root: string,
  { limits, passes = () => false, seen = { count: 0 } }: WalkOptions,
): Generator<Walked> {
  const pending = [''];
  for (let folder = pending.pop(); folder !== undefined; folder = pending.pop()) {
    for (const { name, shown, entry } of list(join(root, folder))) {
      const path = folder === '' ? shown : `${folder}/${shown}`;
      seen.count++;
      if (seen.count > limits.entries) {
        throw new StorageError(
          'too_large',
          `Cannot read "${root}": it has over ${limits.entries} files and folders`,
        );
      }
      const isFolder = entry.isDirectory();
      if (name === null) yield { path, kind: 'unnamed' };
      else if (passes(path, isFolder)) continue;
      else if (isFolder) {
        checkDepth(path, limits);
        pending.push(path);
        yield { path, kind: 'folder' };
      } else {
        yield { path, kind: entry.isFile() ? 'file' : entry.isSymbolicLink() ? 'link' : 'special' };
      }
    }
  }
}

/** The entries of a folder, as they are read: it may hold millions. `name` is `null` where it is no UTF-8. */
function* list(folder: string): Generator<{ name: string | null; shown: string; entry: Dirent }> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  // Node's types know of no names that are bytes here.
  const options = { bufferSize: 256, encoding: 'buffer' as BufferEncoding };
  const opened = opendirSync(folder, options);
  const next = () => {
    try {
      return opened.readSync();
    } catch (error) {
      // It says of no path where it was.
      throw Object.assign(error as Error, { path: folder });
    }
  };
  try {
    for (let entry = next(); entry !== null; entry = next()) {
      const bytes = entry.name as unknown as Buffer;
      const name = decode(decoder, bytes);
      yield { name, shown: name ?? bytes.toString('latin1'), entry };
    }
  } finally {
    opened.closeSync();
  }
}

function decode(decoder: TextDecoder, bytes: Buffer): string | null {
  try {
    return decoder.decode(bytes);
  } catch {
    return null;
  }
}

function checkDepth(path: string, limits: Limits): void {
  if (Buffer.byteLength(path) <= limits.pathBytes) return;
  throw new StorageError(
    'invalid_input',
    `Cannot use path ${JSON.stringify(`${path.slice(0, 200)}…`)}: it is longer than ${limits.pathBytes} bytes`,
  );
}
