import { createHmac, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Ref, StorageError } from '../contract.ts';
import { syncPathHere } from '../store/durable.ts';

/** The path of a generation's archive on this host. */
export function archivePath({ projectId, version }: Omit<Ref, 'generationId'>): string {
  return `/v1/projects/${projectId}/${version}/archive.tar.gz`;
}

/** Signs paths of this host's own downloads: whoever has one may read until it expires. */
export class PathSigner {
  readonly #key: Buffer;

  /**
   * @param keyFile made, for its owner's eyes alone, where it is not there or is no whole key
   * @param onProblem told where it was no whole key: what was signed with it is good no more
   */
  constructor(keyFile: string, onProblem: (error: unknown) => void) {
    this.#key = readOrMakeKey(keyFile, onProblem);
  }

  /** @param expiresAt seconds since 1970 */
  sign(ref: Ref, expiresAt: number): string {
    const query = new URLSearchParams({
      generation: ref.generationId,
      expires: String(expiresAt),
      signature: this.#sign(ref, expiresAt),
    });
    return `${archivePath(ref)}?${query}`;
  }

  /** Whether a signature is ours and still good. @param now milliseconds */
  isGood(ref: Ref, expiresAt: number, signature: string, now: number): boolean {
    const expected = Buffer.from(this.#sign(ref, expiresAt));
    const given = Buffer.from(signature);
    const same = given.length === expected.length && timingSafeEqual(given, expected);
    return same && now < expiresAt * 1000;
  }

  #sign(ref: Ref, expiresAt: number): string {
    const text = `${archivePath(ref)}\n${ref.generationId}\n${expiresAt}`;
    return createHmac('sha256', this.#key).update(text).digest('base64url');
  }
}

const KEY_BYTES = 32;

/** A key of another length was cut short by a power loss, or by somebody's mistake: it is none. */
function readOrMakeKey(file: string, onProblem: (error: unknown) => void): Buffer {
  const found = readKey(file);
  if (found !== null && found.length === KEY_BYTES) return found;
  const temporary = `${file}.${randomUUID()}`;
  try {
    writeFileSync(temporary, randomBytes(KEY_BYTES), { mode: 0o600, flag: 'wx', flush: true });
    if (found === null) linkSync(temporary, file);
    else {
      renameSync(temporary, file);
      const message = `The key of this host's download URLs, "${file}", was no whole key. It was made anew: URLs that were given out before are good no more`;
      onProblem(new StorageError('corrupt', message));
    }
    syncPathHere(dirname(file));
  } catch (error) {
    // A link, unlike a rename, leaves the key alone that another process made just now.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    rmSync(temporary, { force: true });
  }
  return readKey(file)!;
}

function readKey(file: string): Buffer | null {
  try {
    return readFileSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return null;
  }
}
