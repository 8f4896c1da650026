import { createHmac, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';
import { linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { Ref } from './contract.ts';

/** The path of a generation's archive on this host. */
export function archivePath({ projectId, version }: Omit<Ref, 'generationId'>): string {
  return `/v1/projects/${projectId}/${version}/archive.tar.gz`;
}

/** Signs paths of this host's own downloads: whoever has one may read until it expires. */
export class PathSigner {
  readonly #key: Buffer;

  /** @param keyFile made, for its owner's eyes alone, where it is not there */
  constructor(keyFile: string) {
    this.#key = readOrMakeKey(keyFile);
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

function readOrMakeKey(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const temporary = `${file}.${randomUUID()}`;
  writeFileSync(temporary, randomBytes(32), { mode: 0o600, flag: 'wx', flush: true });
  try {
    // A link, unlike a rename, leaves the key alone that another process made just now.
    linkSync(temporary, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    rmSync(temporary);
  }
  return readFileSync(file);
}
