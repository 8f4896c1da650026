import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, existsSync } from 'node:fs';
import { copyFile, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream as NodeReadableStream } from 'node:stream/web';
import { problems } from './errors.ts';

/** What was written: its size in bytes and the MD5 in hex, which makes the eTag. */
export type Written = Readonly<{ size: number; md5: string }>;

/** The bytes of objects: one file for each version, named by it. */
export class Blobs {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  async open(): Promise<void> {
    await mkdir(this.folder, { recursive: true });
  }

  /** Streams a body to a file of the given name; past the limit nothing is left of it. */
  async write(
    version: string,
    body: ReadableStream<Uint8Array> | null,
    limit: number,
  ): Promise<Written> {
    const md5 = createHash('md5');
    let size = 0;
    const meter = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        size += chunk.length;
        md5.update(chunk);
        done(size > limit ? problems.tooLarge() : null, chunk);
      },
    });
    try {
      const source =
        body === null ? Readable.from([]) : Readable.fromWeb(body as NodeReadableStream);
      await pipeline(source, meter, createWriteStream(this.#path(version), { flags: 'wx' }));
    } catch (error) {
      await this.remove([version]);
      throw error;
    }
    return { size, md5: md5.digest('hex') };
  }

  /** What the finished file of a version holds. */
  async describe(version: string): Promise<Written> {
    const md5 = createHash('md5');
    let size = 0;
    for await (const chunk of createReadStream(this.#path(version))) {
      md5.update(chunk as Buffer);
      size += (chunk as Buffer).length;
    }
    return { size, md5: md5.digest('hex') };
  }

  async copy(from: string, to: string): Promise<void> {
    await copyFile(this.#path(from), this.#path(to));
  }

  /** Whether the bytes of a version are there. */
  has(version: string): boolean {
    return existsSync(this.#path(version));
  }

  /** The bytes from `start` to `end`, both counted in; nothing of an empty object. */
  read(version: string, start: number, end: number): ReadableStream<Uint8Array> {
    return Readable.toWeb(
      createReadStream(this.#path(version), { start, end }),
    ) as ReadableStream<Uint8Array>;
  }

  async remove(versions: readonly string[]): Promise<void> {
    for (const version of versions) {
      await rm(this.#path(version), { force: true });
      // What the resumable upload that brought it noted.
      await rm(`${this.#path(version)}.json`, { force: true });
    }
  }

  #path(version: string): string {
    return join(this.folder, version);
  }
}
