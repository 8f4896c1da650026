import { readFile } from 'node:fs/promises';
import { ARCHIVE_TYPE, parseFolderName, type Ref, StorageError } from '../contract.ts';
import type { Connection } from './connection.ts';
import { type ResumePoint, uploadInChunks } from './resumable.ts';
import { fromPlatform, fromResponse, realStatus, translated } from './translate.ts';

/** Above this size an archive is sent in chunks: what Supabase advises for one request. */
export const SINGLE_REQUEST_BYTES = 6 * 1024 * 1024;

/** An archive on disk that is to be stored. */
export type ArchiveFile = Readonly<{ path: string; bytes: number; sha256: string; md5: string }>;

/** What storage says of an object. */
export type ObjectInfo = Readonly<{ bytes: number; etag: string; sha256: string | null }>;

/** What one call of Storage lists. */
const LIST_PAGE = 1000;

/** Archives in the bucket. */
export class CloudObjects {
  readonly #connection: Connection;
  #isPrivate = false;

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
   * @param options.isNew that nothing is expected there: it is sent without a look first
   * @throws StorageError `conflict` where other bytes have the key
   */
  async put(
    key: string,
    archive: ArchiveFile,
    resume: ResumePoint,
    { isNew = false } = {},
  ): Promise<void> {
    // In one request a refusal costs no more than the look; a large body may wedge the connection.
    const known = isNew && archive.bytes <= SINGLE_REQUEST_BYTES ? null : await this.info(key);
    if (known !== null) {
      if (isSame(known, archive)) return;
      throw new StorageError('conflict', `Cannot upload "${key}": other bytes are stored there`);
    }
    await this.#checkPrivate();
    try {
      await this.#send(key, archive, resume);
    } catch (error) {
      if (isMissingBucket(error)) {
        await this.ensureBucket();
        await this.#send(key, archive, resume);
        return;
      }
      // Somebody was quicker, or an earlier attempt whose answer was lost.
      const stored = error instanceof StorageError && error.code === 'conflict';
      const info = stored ? await this.info(key) : null;
      if (info === null || !isSame(info, archive)) throw error;
    }
  }

  /** Once in a run: everybody would read what is put into a public bucket. */
  async #checkPrivate(): Promise<void> {
    if (this.#isPrivate) return;
    const { bucket } = this.#connection.settings;
    const { data, error } = await this.#connection.client.storage.getBucket(bucket);
    if (error !== null) {
      // It is made, private, where it is missing.
      if (realStatus(error) === 404) return;
      throw fromPlatform(error, `look up the bucket "${bucket}"`, 'storage');
    }
    if (data.public) {
      throw new StorageError(
        'forbidden',
        `Cannot upload into the bucket "${bucket}": it is public. Make it private, then: codebegen-storage uploads retry`,
      );
    }
    this.#isPrivate = true;
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

  /** Whether an object is there and holds these very bytes. */
  async has(key: string, archive: Omit<ArchiveFile, 'path'>): Promise<boolean> {
    const info = await this.info(key);
    return info !== null && isSame(info, archive);
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
   * @returns whether there is anything
   * @throws StorageError `corrupt`
   */
  async verify(key: string, archive: Omit<ArchiveFile, 'path'>): Promise<boolean> {
    const info = await this.info(key);
    if (info === null) return false;
    if (info.bytes === archive.bytes) {
      // The eTag is the MD5 of what storage holds, where it is one.
      if (info.etag === archive.md5) return true;
      if ((await this.readBack(key)) === archive.sha256) return true;
    }
    throw new StorageError('corrupt', `Cannot verify "${key}": the bucket holds other bytes`, {
      retryable: true,
    });
  }

  /**
   * The sha256 of an object, all of whose bytes are read back.
   *
   * @throws StorageError `not_found`, `unavailable`
   */
  async readBack(key: string): Promise<string> {
    return (await this.#receive(key, null, 'read back')).sha256;
  }

  /**
   * Downloads an object into a new file.
   *
   * @returns the sha256 of the bytes that arrived, and the eTag that storage said
   * @throws StorageError `not_found`, `unavailable`; what the disk says
   */
  async download(key: string, file: string): Promise<{ sha256: string; etag: string }> {
    return this.#receive(key, file, 'download');
  }

  async #receive(
    key: string,
    file: string | null,
    verb: string,
  ): Promise<{ sha256: string; etag: string }> {
    const { settings, transfers, timeouts } = this.#connection;
    const doing = `${verb} "${key}"`;
    const { status, headers, text, sha256 } = await translated(doing, () =>
      transfers.receive({
        url: `${settings.url}/storage/v1/object/${settings.bucket}/${key}`,
        headers: { authorization: `Bearer ${settings.key}`, apikey: settings.key },
        file,
        silenceMs: timeouts.silenceMs,
      }),
    );
    if (status >= 400) throw fromPlatform(fromResponse(status, text), doing, 'storage');
    return { sha256, etag: (headers.etag ?? '').replaceAll('"', '') };
  }

  /** Looks in the bucket for the archive of a version, where no database knows it. */
  async findArchive(
    projectId: string,
    version: number,
    generationId?: string,
  ): Promise<{ ref: Ref; key: string; sha256: string | null } | null> {
    const folder = `${projectId}/generations`;
    // Storage may take "_" for any letter, so that v10 to v19 are among what it finds for v1.
    const { data, error } = await this.#bucket.list(folder, {
      limit: 1000,
      search: `v${version}__`,
    });
    if (error !== null) throw fromPlatform(error, `list "${folder}"`, 'storage');
    for (const { name } of data) {
      const parsed = parseFolderName(name.replace(/(\.[0-9a-f]{12})?\.tar\.gz$/, ''));
      if (parsed?.version !== version) continue;
      if (generationId !== undefined && parsed.generationId !== generationId) continue;
      const key = `${folder}/${name}`;
      const sha256 = (await this.info(key))?.sha256 ?? null;
      return { ref: { projectId, ...parsed }, key, sha256 };
    }
    return null;
  }

  /**
   * Lists the keys of all archives in the bucket, or of those of one project, page by page.
   *
   * @throws StorageError `unavailable`, `not_found` where there is no bucket
   */
  async *listArchives(only: string | null): AsyncGenerator<string> {
    const projects = only === null ? this.#listFolder('') : [{ id: null, name: only }];
    for await (const { id, name } of projects) {
      // A folder has no id.
      if (id !== null) continue;
      const folder = `${name}/generations`;
      for await (const object of this.#listFolder(folder)) {
        if (object.id !== null) yield `${folder}/${object.name}`;
      }
    }
  }

  async *#listFolder(folder: string): AsyncGenerator<{ id: string | null; name: string }> {
    for (let offset = 0; ; offset += LIST_PAGE) {
      const { data, error } = await this.#bucket.list(folder, {
        limit: LIST_PAGE,
        offset,
        sortBy: { column: 'name', order: 'asc' },
      });
      if (error !== null) throw fromPlatform(error, `list "${folder}"`, 'storage');
      yield* data as { id: string | null; name: string }[];
      if (data.length < LIST_PAGE) return;
    }
  }

  /**
   * Removes an object; one that is missing is no error.
   *
   * @param bucket where it is; the configured one where left out
   */
  async remove(key: string, bucket = this.#connection.settings.bucket): Promise<void> {
    const { error } = await this.#connection.client.storage.from(bucket).remove([key]);
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

  /**
   * Makes the bucket, private, where it is missing.
   *
   * @returns whether it was made now
   * @throws StorageError `unavailable`, `forbidden`, `unauthenticated`
   */
  async ensureBucket(): Promise<boolean> {
    const { bucket } = this.#connection.settings;
    const { error } = await this.#connection.client.storage.createBucket(bucket, { public: false });
    if (error !== null && realStatus(error) !== 409) {
      throw fromPlatform(error, `make the bucket "${bucket}"`, 'storage');
    }
    return error === null;
  }
}

/** As far as storage says; the eTag is not everywhere the MD5. Verification proves it. */
function isSame(info: ObjectInfo, archive: Omit<ArchiveFile, 'path'>): boolean {
  return (
    info.bytes === archive.bytes && (info.etag === archive.md5 || info.sha256 === archive.sha256)
  );
}

function isMissingBucket(error: unknown): boolean {
  const cause = error instanceof StorageError ? error.cause : error;
  const { message, code } = (cause ?? {}) as { message?: string; code?: string };
  return code === 'NoSuchBucket' || /bucket not found/i.test(message ?? '');
}
