import { readFile } from 'node:fs/promises';
import { ARCHIVE_TYPE, isId, parseObjectKey, type Ref, StorageError } from '../contract.ts';
import { readRefusal } from './answer.ts';
import type { ArchiveFile } from './archive-file.ts';
import { Bucket, isMissingBucket } from './bucket.ts';
import type { Connection } from './connection.ts';
import { checkTaken, isSame, type ObjectInfo } from './object-info.ts';
import { type ResumePoint, uploadInChunks } from './resumable.ts';
import { checkAnswer, fromPlatform, isRefusal, translated } from './translate.ts';

/** Above this size an archive is sent in chunks: what Supabase advises for one request. */
export const SINGLE_REQUEST_BYTES = 6 * 1024 * 1024;

/** Above this size an early refusal may wedge the connection for a minute: it is looked first. */
const LOOK_FIRST_BYTES = 256 * 1024;

/** Where an object lies. */
export type ObjectPlace = Readonly<{ bucket: string; key: string }>;

/** An archive in the bucket, as Storage lists it. @property createdAt ISO 8601; empty where it says none */
export type ListedArchive = Readonly<{ key: string; createdAt: string; bytes: number | null }>;

/** A folder has no id. */
type ListedObject = {
  id: string | null;
  name: string;
  created_at?: string | null;
  metadata?: { size?: unknown } | null;
};

/** What one call of Storage lists, or removes. */
const AT_ONCE = 1000;

/** Archives in the bucket. */
export class ObjectsBySecretKey {
  /** Whether what lies in the bucket is seen although no row names it. */
  readonly showsUnnamed: boolean = true;
  readonly #connection: Connection;
  readonly #bucket: Bucket;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.#bucket = new Bucket(connection);
  }

  /** The bucket that is written into. */
  get bucket(): string {
    return this.#bucket.name;
  }

  #in(bucket: string) {
    return this.#connection.client.storage.from(bucket);
  }

  /**
   * Stores an archive under a key that nothing else may have. What is there already with the same
   * bytes is not sent again. Makes the bucket, private, where it is missing.
   *
   * @param options.isNew that nothing is expected there: it is sent without a look first
   * @throws StorageError `conflict` where other bytes have the key, `too_large` with the limit
   */
  async put(
    key: string,
    archive: ArchiveFile,
    resume: ResumePoint,
    { isNew = false } = {},
  ): Promise<void> {
    const known = isNew && archive.bytes <= LOOK_FIRST_BYTES ? null : await this.info(key);
    if (known !== null) {
      if (isSame(known, archive)) return;
      throw new StorageError('conflict', `Cannot upload "${key}": other bytes are stored there`);
    }
    await this.#bucket.check(key, archive.bytes);
    try {
      await this.#send(key, archive, resume);
    } catch (error) {
      if (isMissingBucket(error)) {
        await this.#bucket.ensure();
        await this.#send(key, archive, resume);
        return;
      }
      if (!(error instanceof StorageError)) throw error;
      if (error.code === 'too_large') throw this.#bucket.tooLarge(key, archive.bytes, error);
      if (error.code !== 'conflict') throw error;
      await checkTaken(key, archive, () => this.info(key), error);
    }
  }

  async #send(key: string, archive: ArchiveFile, resume: ResumePoint): Promise<void> {
    if (archive.bytes > SINGLE_REQUEST_BYTES) {
      const headers = () => {
        const { value } = this.#connection.key;
        return { authorization: `Bearer ${value}`, apikey: value };
      };
      const tus = { headers, folder: '/upload/resumable', bucket: this.bucket } as const;
      await uploadInChunks({ ...this.#connection, ...tus }, key, archive, resume);
      // That all of it arrived is no proof that it was made an object.
      const info = await this.info(key);
      if (info !== null && isSame(info, archive)) return;
      throw new StorageError('unavailable', `Cannot upload "${key}": storage took it and lost it`);
    }
    const { data, error } = await this.#in(this.bucket).upload(key, await readFile(archive.path), {
      contentType: ARCHIVE_TYPE,
      upsert: false,
      metadata: { sha256: archive.sha256 },
    });
    if (error !== null) throw fromPlatform(error, `upload "${key}"`, 'storage');
    checkAnswer(typeof data.fullPath === 'string', `upload "${key}"`);
  }

  /** What storage knows of an object; `null` where it has none. */
  async info(key: string, bucket = this.bucket): Promise<ObjectInfo | null> {
    const { data, error } = await this.#in(bucket).info(key);
    if (error !== null) {
      const known = fromPlatform(error, `look up "${key}"`, 'storage');
      if (known.code !== 'not_found') throw known;
      await this.#checkKey();
      return null;
    }
    checkAnswer(typeof data.etag === 'string' && typeof data.size === 'number', `look up "${key}"`);
    const sha256 = data.metadata?.sha256;
    return {
      bytes: data.size ?? -1,
      etag: (data.etag ?? '').replaceAll('"', ''),
      sha256: typeof sha256 === 'string' ? sha256 : null,
    };
  }

  /**
   * A key that is over counts as no key where objects are read: nothing is there then, as it seems.
   * So before that is believed, something is asked that nobody may without a key.
   *
   * @throws StorageError `unauthenticated`
   */
  async #checkKey(): Promise<void> {
    const { error } = await this.#connection.client.storage.listBuckets({ limit: 1 });
    if (error !== null) throw fromPlatform(error, 'list the buckets', 'storage');
  }

  /**
   * The sha256 of an object, all of whose bytes are read back.
   *
   * @throws StorageError `not_found`, `unavailable`
   */
  async readBack(key: string, bucket = this.bucket): Promise<string> {
    return (await this.#receive({ bucket, key }, null, 'read back')).sha256;
  }

  /**
   * Downloads an object into a new file.
   *
   * @param options.silenceMs how long it may be silent, in milliseconds; else as {@link Timeouts} says
   * @returns the sha256 of the bytes that arrived, and the eTag that storage said
   * @throws StorageError `not_found`, `unavailable`; what the disk says
   */
  async download(
    key: string,
    file: string,
    bucket = this.bucket,
    options: { silenceMs?: number } = {},
  ): Promise<{ sha256: string; etag: string }> {
    return this.#receive({ bucket, key }, file, 'download', options);
  }

  async #receive(
    { bucket, key }: ObjectPlace,
    file: string | null,
    verb: string,
    { silenceMs = this.#connection.timeouts.silenceMs }: { silenceMs?: number } = {},
  ): Promise<{ sha256: string; etag: string }> {
    const { settings, key: secret, transfers } = this.#connection;
    const doing = `${verb} "${key}"`;
    const url = `${settings.url}/storage/v1/object/${bucket}/${key}`;
    const { status, headers, text, sha256 } = await translated(doing, () =>
      transfers.receive({
        url,
        headers: { authorization: `Bearer ${secret.value}`, apikey: secret.value },
        file,
        silenceMs,
      }),
    );
    if (status >= 400) {
      const refusal = await readRefusal({ status, headers, text }, url);
      if (isRefusal(refusal) && (await secret.refresh())) {
        return this.#receive({ bucket, key }, file, verb, { silenceMs });
      }
      const known = fromPlatform(refusal, doing, 'storage');
      if (known.code === 'not_found') await this.#checkKey();
      throw known;
    }
    // Storage names every object that it gives; a page in its place has no such name.
    checkAnswer(status === 200 && headers.etag !== undefined, doing);
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
    const { data, error } = await this.#in(this.bucket).list(folder, {
      limit: AT_ONCE,
      search: `v${version}__`,
    });
    if (error !== null) throw fromPlatform(error, `list "${folder}"`, 'storage');
    checkAnswer(Array.isArray(data), `list "${folder}"`);
    for (const { name } of data) {
      const key = `${folder}/${name}`;
      const ref = parseObjectKey(key);
      if (ref?.version !== version) continue;
      if (generationId !== undefined && ref.generationId !== generationId) continue;
      return { ref, key, sha256: (await this.info(key))?.sha256 ?? null };
    }
    return null;
  }

  /**
   * The projects of which something lies in the bucket, or the one that is named.
   *
   * @throws StorageError `unavailable`, `not_found` where there is no bucket
   */
  async *listProjects(only: string | null): AsyncGenerator<string> {
    await this.#bucket.checkVisible();
    if (only !== null) yield only;
    else {
      for await (const { id, name } of this.#listFolder(''))
        if (id === null && isId(name)) yield name;
    }
  }

  /** Lists the archives of a project, page by page. @throws StorageError `unavailable` */
  async *listArchives(projectId: string): AsyncGenerator<ListedArchive> {
    const folder = `${projectId}/generations`;
    for await (const object of this.#listFolder(folder)) {
      if (object.id === null) continue;
      const { created_at: createdAt, metadata } = object;
      const bytes = typeof metadata?.size === 'number' ? metadata.size : null;
      yield { key: `${folder}/${object.name}`, createdAt: createdAt ?? '', bytes };
    }
  }

  async *#listFolder(folder: string): AsyncGenerator<ListedObject> {
    for (let offset = 0; ; offset += AT_ONCE) {
      const { data, error } = await this.#in(this.bucket).list(folder, {
        limit: AT_ONCE,
        offset,
        sortBy: { column: 'name', order: 'asc' },
      });
      if (error !== null) throw fromPlatform(error, `list "${folder}"`, 'storage');
      checkAnswer(Array.isArray(data), `list "${folder}"`);
      yield* data as ListedObject[];
      if (data.length < AT_ONCE) return;
    }
  }

  /** Removes objects; those that are missing are no error. */
  async remove(places: readonly ObjectPlace[]): Promise<void> {
    const byBucket = Map.groupBy(places, ({ bucket }) => bucket);
    for (const [bucket, some] of byBucket) {
      const keys = some.map(({ key }) => key);
      for (let begin = 0; begin < keys.length; begin += AT_ONCE) {
        const doing = `remove "${keys[begin]}"`;
        const { data, error } = await this.#in(bucket).remove(keys.slice(begin, begin + AT_ONCE));
        if (error === null) checkAnswer(Array.isArray(data), doing);
        else if (!isMissingBucket(fromPlatform(error, '', ''))) {
          throw fromPlatform(error, doing, 'storage');
        }
      }
    }
  }

  /**
   * @param expiresIn seconds
   * @param filename what a browser saves it as
   * @throws StorageError `not_found` where no such object is there
   */
  async sign(
    key: string,
    expiresIn: number,
    filename: string,
    bucket = this.bucket,
  ): Promise<string> {
    const { data, error } = await this.#in(bucket).createSignedUrl(key, expiresIn, {
      download: filename,
    });
    if (error !== null) {
      const known = fromPlatform(error, `sign "${key}"`, 'storage');
      if (known.code === 'not_found') await this.#checkKey();
      throw known;
    }
    checkAnswer(data.signedUrl.includes('token='), `sign "${key}"`);
    return data.signedUrl;
  }
}
