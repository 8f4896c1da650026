import { readFile } from 'node:fs/promises';
import {
  ARCHIVE_TYPE,
  DownloadsSchema,
  parseObjectKey,
  type Ref,
  StorageError,
} from '../../contract.ts';
import { readRefusal } from '../answer.ts';
import type { ArchiveFile } from '../archive-file.ts';
import { tooLarge } from '../bucket.ts';
import type { CloudObjects } from '../cloud.ts';
import type { Connection } from '../connection.ts';
import { checkTaken, isSame, type ObjectInfo } from '../object-info.ts';
import { type ListedArchive, type ObjectPlace, SINGLE_REQUEST_BYTES } from '../objects.ts';
import { type ResumePoint, uploadInChunks } from '../resumable.ts';
import { checkAnswer, fromPlatform, fromResponse, isRefusal, translated } from '../translate.ts';
import { type HostApi, takesSecretKey } from './api.ts';
import type { RecordsByHostKey } from './records.ts';
import type { UploadToken, UploadTokens } from './tokens.ts';

/** For a download that begins at once, in seconds. */
const URL_SECONDS = 3600;

type HostConnection = Pick<Connection, 'settings' | 'fetch' | 'transfers' | 'timeouts'>;

/** Archives in the bucket, through signed URLs that the function `hosts` gives. */
export class ObjectsByHostKey implements CloudObjects {
  readonly showsUnnamed = false;
  readonly #connection: HostConnection;
  readonly #api: HostApi;
  readonly #tokens: UploadTokens;
  readonly #records: RecordsByHostKey;

  constructor(
    connection: HostConnection,
    api: HostApi,
    tokens: UploadTokens,
    records: RecordsByHostKey,
  ) {
    this.#connection = connection;
    this.#api = api;
    this.#tokens = tokens;
    this.#records = records;
  }

  get bucket(): string {
    return this.#connection.settings.bucket;
  }

  /**
   * As by the secret key. What nothing lay under when it was reserved is sent without a look first.
   *
   * @throws StorageError `not_found` where the key is not this host's any more: it is reserved anew
   */
  async put(key: string, archive: ArchiveFile, resume: ResumePoint): Promise<void> {
    const token = this.#tokens.find(key) ?? (await this.#tokens.renew(key));
    if (token === null) return this.#checkThere(key, archive);
    const { limit_bytes: limit } = token;
    if (limit !== null && archive.bytes > limit) {
      this.#tokens.drop(key);
      throw tooLarge(key, archive.bytes, { bucket: this.bucket, limit, cause: null });
    }
    try {
      await this.#send(key, archive, resume, token);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      if (error.code === 'too_large') {
        throw tooLarge(key, archive.bytes, { bucket: this.bucket, limit: null, cause: error });
      }
      if (error.code === 'conflict') {
        this.#tokens.drop(key);
        return checkTaken(key, archive, () => this.info(key), error);
      }
      // The token is over, or is not believed: another one may be.
      if (!isRefusal(error.cause) && error.code !== 'invalid_input') throw error;
      const another = await this.#tokens.renew(key);
      if (another === null) return this.#checkThere(key, archive);
      await this.#send(key, archive, resume, another);
    }
  }

  /** Nothing may be sent there: because it lies there, or because the key is not ours any more. */
  async #checkThere(key: string, archive: ArchiveFile): Promise<void> {
    const known = await this.info(key);
    if (known === null) {
      const message = `Cannot upload "${key}": it is not this host's to send any more`;
      throw new StorageError('not_found', message, { retryable: true });
    }
    if (isSame(known, archive)) return;
    throw new StorageError('conflict', `Cannot upload "${key}": other bytes are stored there`);
  }

  async #send(
    key: string,
    archive: ArchiveFile,
    resume: ResumePoint,
    { token, bucket }: UploadToken,
  ): Promise<void> {
    const { settings } = this.#connection;
    if (archive.bytes > SINGLE_REQUEST_BYTES) {
      const headers = () => ({ 'x-signature': token });
      const tus = { headers, folder: '/upload/resumable/sign', bucket } as const;
      await uploadInChunks({ ...this.#connection, ...tus }, key, archive, resume);
      const info = await this.info(key);
      if (info !== null && isSame(info, archive)) return;
      throw new StorageError('unavailable', `Cannot upload "${key}": storage took it and lost it`);
    }
    const doing = `upload "${key}"`;
    const path = `/storage/v1/object/upload/sign/${bucket}/${key}?token=${token}`;
    const metadata = Buffer.from(JSON.stringify({ sha256: archive.sha256 })).toString('base64');
    const body = new Uint8Array(await readFile(archive.path));
    const answer = await translated(doing, () =>
      this.#connection.fetch(`${settings.url}${path}`, {
        method: 'PUT',
        headers: {
          'content-type': ARCHIVE_TYPE,
          'cache-control': 'max-age=3600',
          'x-metadata': metadata,
        },
        body,
      }),
    );
    const text = await answer.text();
    if (!answer.ok) throw fromPlatform(fromResponse(answer.status, text), doing, 'storage');
    checkAnswer(text.includes('"Key"'), doing);
  }

  async info(key: string): Promise<ObjectInfo | null> {
    const found = await this.#look(key, `look up "${key}"`, { sign: false });
    if (found === null) return null;
    return { bytes: found.bytes ?? -1, etag: found.etag ?? '', sha256: found.sha256 ?? null };
  }

  /** What the function says of an object; `null` where there is none that this host may read. */
  async #look(key: string, doing: string, options: object) {
    const ref = parseObjectKey(key);
    if (ref === null) return null;
    const item = { project_id: ref.projectId, version: ref.version, object_key: key };
    const body = { items: [item], ...options };
    const [found] = (await this.#api.ask('/download', body, DownloadsSchema, doing)).items;
    return found === undefined || found.object_key === null ? null : found;
  }

  async readBack(key: string): Promise<string> {
    return (await this.#receive(key, null, 'read back')).sha256;
  }

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
    const found = await this.#look(key, doing, { expires_in: URL_SECONDS });
    if (found?.url === undefined) throw this.#notFound(doing);
    // By our own way: users may know the project under another name.
    const { pathname, search } = new URL(found.url);
    const url = `${settings.url}${pathname}${search}`;
    const { status, headers, text, sha256 } = await translated(doing, () =>
      transfers.receive({ url, headers: {}, file, silenceMs: timeouts.silenceMs }),
    );
    if (status >= 400) {
      throw fromPlatform(await readRefusal({ status, headers, text }, url), doing, 'storage');
    }
    checkAnswer(status === 200 && headers.etag !== undefined, doing);
    return { sha256, etag: (headers.etag ?? '').replaceAll('"', '') };
  }

  #notFound(doing: string): StorageError {
    const cause = new Error('the function finds no such object');
    return new StorageError('not_found', `Cannot ${doing}: storage answered 404`, { cause });
  }

  /** Without a row nothing is this host's. */
  async findArchive(): Promise<{ ref: Ref; key: string; sha256: string | null } | null> {
    return null;
  }

  // biome-ignore lint/correctness/useYield: it is refused at once
  async *listProjects(): AsyncGenerator<string> {
    throw takesSecretKey('list the bucket');
  }

  // biome-ignore lint/correctness/useYield: it is refused at once
  async *listArchives(): AsyncGenerator<ListedArchive> {
    throw takesSecretKey('list the bucket');
  }

  /** A host removes nothing: it says that the objects are damaged, and the function does. */
  async remove(places: readonly ObjectPlace[]): Promise<void> {
    for (const place of places) {
      const ref = parseObjectKey(place.key);
      if (ref !== null) await this.#records.recordDamage(ref, place);
    }
  }

  async sign(key: string, expiresIn: number, filename: string): Promise<string> {
    const doing = `sign "${key}"`;
    const found = await this.#look(key, doing, { expires_in: expiresIn, filename });
    if (found?.url === undefined) throw this.#notFound(doing);
    return found.url;
  }
}
