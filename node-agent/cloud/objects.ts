import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { ARCHIVE_TYPE, StorageError } from '../contract.ts';
import type { Connection } from './connection.ts';
import { type ResumePoint, uploadInChunks } from './resumable.ts';
import { fromPlatform, realStatus } from './translate.ts';

/** Above this size an archive is sent in chunks: what Supabase advises for one request. */
export const SINGLE_REQUEST_BYTES = 6 * 1024 * 1024;

/** An archive on disk that is to be stored. */
export type ArchiveFile = Readonly<{ path: string; bytes: number; sha256: string; md5: string }>;

/** What storage says of an object. */
export type ObjectInfo = Readonly<{ bytes: number; etag: string; sha256: string | null }>;

/** Archives in the bucket. */
export class CloudObjects {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  get #bucket() {
    return this.#connection.client.storage.from(this.#connection.settings.bucket);
  }

  /**
   * Stores an archive under a key that nothing else may have. What is there already with the same
   * bytes is not sent again. Makes the bucket, private, where it is missing.
   *
   * @throws StorageError `conflict` where other bytes have the key
   */
  async put(key: string, archive: ArchiveFile, resume: ResumePoint): Promise<void> {
    const known = await this.info(key);
    if (known !== null) {
      if (isSame(known, archive)) return;
      throw new StorageError('conflict', `Cannot upload "${key}": other bytes are stored there`);
    }
    try {
      await this.#send(key, archive, resume);
    } catch (error) {
      if (isMissingBucket(error)) {
        await this.#makeBucket();
        await this.#send(key, archive, resume);
        return;
      }
      // Somebody was quicker, or an earlier attempt whose answer was lost.
      const stored = error instanceof StorageError && error.code === 'conflict';
      const info = stored ? await this.info(key) : null;
      if (info === null || !isSame(info, archive)) throw error;
    }
  }

  async #send(key: string, archive: ArchiveFile, resume: ResumePoint): Promise<void> {
    if (archive.bytes > SINGLE_REQUEST_BYTES) {
      await uploadInChunks(this.#connection, key, archive, resume);
      return;
    }
    const { error } = await this.#bucket.upload(key, await readFile(archive.path), {
      contentType: ARCHIVE_TYPE,
      upsert: false,
      metadata: { sha256: archive.sha256 },
    });
    if (error !== null) throw fromPlatform(error, `upload "${key}"`, 'storage');
  }

  /** What storage knows of an object; `null` where it has none. */
  async info(key: string): Promise<ObjectInfo | null> {
    const { data, error } = await this.#bucket.info(key);
    if (error !== null) {
      if (realStatus(error) === 404) return null;
      throw fromPlatform(error, `look up "${key}"`, 'storage');
    }
    const sha256 = data.metadata?.sha256;
    return {
      bytes: data.size ?? -1,
      etag: (data.etag ?? '').replaceAll('"', ''),
      sha256: typeof sha256 === 'string' ? sha256 : null,
    };
  }

  /**
   * Proves that the stored bytes are those of the archive: by the eTag where it is the MD5, else
   * by reading them back. Storage checks no checksum itself.
   *
   * @throws StorageError `not_found`, `corrupt`
   */
  async verify(key: string, archive: ArchiveFile): Promise<void> {
    const info = await this.info(key);
    if (info === null) {
      throw new StorageError('not_found', `Cannot verify "${key}": it is not in the bucket`);
    }
    if (info.bytes === archive.bytes && info.etag === archive.md5) return;
    if (info.bytes === archive.bytes && (await this.#readBack(key)) === archive.sha256) return;
    throw new StorageError('corrupt', `Cannot verify "${key}": the bucket holds other bytes`, {
      retryable: true,
    });
  }

  async #readBack(key: string): Promise<string> {
    const { data, error } = await this.#bucket.download(key).asStream();
    if (error !== null) throw fromPlatform(error, `read back "${key}"`, 'storage');
    const hash = createHash('sha256');
    for await (const piece of data) hash.update(piece);
    return hash.digest('hex');
  }

  /** Removes an object; one that is missing is no error. */
  async remove(key: string): Promise<void> {
    const { error } = await this.#bucket.remove([key]);
    if (error !== null && !isMissingBucket(fromPlatform(error, '', ''))) {
      throw fromPlatform(error, `remove "${key}"`, 'storage');
    }
  }

  /**
   * @param expiresIn seconds
   * @param filename what a browser saves it as
   */
  async sign(key: string, expiresIn: number, filename: string): Promise<string> {
    const { data, error } = await this.#bucket.createSignedUrl(key, expiresIn, {
      download: filename,
    });
    if (error !== null) throw fromPlatform(error, `sign "${key}"`, 'storage');
    return data.signedUrl;
  }

  async #makeBucket(): Promise<void> {
    const { bucket } = this.#connection.settings;
    const { error } = await this.#connection.client.storage.createBucket(bucket, { public: false });
    if (error !== null && realStatus(error) !== 409) {
      throw fromPlatform(error, `make the bucket "${bucket}"`, 'storage');
    }
  }
}

function isSame(info: ObjectInfo, archive: ArchiveFile): boolean {
  return info.bytes === archive.bytes && info.etag === archive.md5;
}

function isMissingBucket(error: unknown): boolean {
  const cause = error instanceof StorageError ? error.cause : error;
  const { message, code } = (cause ?? {}) as { message?: string; code?: string };
  return code === 'NoSuchBucket' || /bucket not found/i.test(message ?? '');
}
