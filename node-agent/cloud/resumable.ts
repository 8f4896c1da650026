/** Upload in chunks: TUS 1.0.0 as Supabase Storage speaks it (chunks of 6 MiB, no others). */
import { stat } from 'node:fs/promises';
import { ARCHIVE_TYPE, StorageError } from '../contract.ts';
import { readAnswer } from './answer.ts';
import type { ArchiveFile } from './archive-file.ts';
import type { Connection } from './connection.ts';
import { CloudError } from './outage.ts';
import { joinStatus, parseRetryAfter, splitStatus } from './retry-after.ts';
import { checkAnswer, fromPlatform, fromResponse, realStatus, translated } from './translate.ts';

const CHUNK_BYTES = 6 * 1024 * 1024;

/** The upload is forgotten, or was never one: it is begun anew. */
const FORGOTTEN = [400, 403, 404, 410];

/** The upload is elsewhere than we think, or somebody else is at it: the server says where it is. */
const ELSEWHERE = [409, 423, 460];

/** Remembers where an upload goes on, across restarts. */
export type ResumePoint = Readonly<{
  url: string | null;
  save(url: string | null): Promise<void>;
}>;

/** How it is reached. */
export type TusConnection = Pick<Connection, 'settings' | 'fetch' | 'transfers' | 'timeouts'> &
  Readonly<{
    /** Says who we are, or what we may do. */
    headers: () => Record<string, string>;
    /** Where uploads are: one that is signed has a place of its own. */
    folder: '/upload/resumable' | '/upload/resumable/sign';
    bucket: string;
  }>;

/**
 * Sends an archive, going on where an earlier attempt ended if the server still knows it. That all
 * of it is there does not say that it was made an object.
 *
 * @throws StorageError `unavailable` where it is to be tried again, from its begin where the server
 *   lost count of it twice
 */
export async function uploadInChunks(
  connection: TusConnection,
  key: string,
  archive: ArchiveFile,
  resume: ResumePoint,
): Promise<void> {
  if ((await stat(archive.path)).size !== archive.bytes) {
    throw new StorageError('corrupt', `Cannot upload "${key}": "${archive.path}" is too short`);
  }
  const tus = new TusUpload(connection, key);
  let url = resume.url;
  let offset = url === null ? null : await tus.offset(url);
  if (url === null || offset === null) {
    url = await tus.create(archive);
    await resume.save(url);
    offset = 0;
  }
  try {
    let misses = 0;
    while (offset < archive.bytes) {
      const next: number | null = await tus.append(url, offset, archive);
      if (next !== null && next > offset) {
        offset = next;
        continue;
      }
      const known = misses++ === 0 ? await tus.offset(url) : null;
      if (known === null) {
        await resume.save(null);
        throw tus.lost();
      }
      offset = known;
    }
  } catch (error) {
    // What is refused for good leads nowhere any more.
    const isRefusal = error instanceof CloudError && error.outage === null && !error.retryable;
    if (isRefusal) await resume.save(null);
    throw error;
  }
  await resume.save(null);
}

class TusUpload {
  readonly #connection: TusConnection;
  readonly #key: string;

  constructor(connection: TusConnection, key: string) {
    this.#connection = connection;
    this.#key = key;
  }

  async create(archive: ArchiveFile): Promise<string> {
    const metadata = {
      bucketName: this.#connection.bucket,
      objectName: this.#key,
      contentType: ARCHIVE_TYPE,
      cacheControl: '3600',
      metadata: JSON.stringify({ sha256: archive.sha256 }),
    };
    const response = await this.#request('POST', this.#connection.folder, {
      'upload-length': String(archive.bytes),
      'upload-metadata': Object.entries(metadata)
        .map(([name, value]) => `${name} ${Buffer.from(value).toString('base64')}`)
        .join(','),
      'x-upsert': 'false',
    });
    const location = response.headers.get('location');
    // Behind a proxy the server may not know its own address: only the name of the upload counts.
    const name = location === null ? undefined : location.split('?')[0]?.split('/').at(-1);
    if (!name) throw this.lost();
    return `${this.#connection.folder}/${name}`;
  }

  /**
   * How much the server has; `null` where it knows the upload no more.
   *
   * @throws StorageError `unavailable` where somebody else is at it
   */
  async offset(url: string): Promise<number | null> {
    const response = await this.#request('HEAD', url, {}, [...FORGOTTEN, ...ELSEWHERE]);
    if (response.ok) return this.#parseOffset(response.headers.get('upload-offset'));
    if (FORGOTTEN.includes(response.status)) return null;
    throw this.lost();
  }

  /**
   * Sends the next chunk of a file.
   *
   * @returns how much the server has then; `null` where it lost count
   */
  async append(url: string, offset: number, file: ArchiveFile): Promise<number | null> {
    const { transfers, timeouts } = this.#connection;
    const bytes = Math.min(CHUNK_BYTES, file.bytes - offset);
    const { status, headers, text } = await translated(this.#doing, () =>
      transfers.send({
        url: this.#url(url),
        method: 'PATCH',
        headers: {
          ...this.#headers,
          'upload-offset': String(offset),
          'content-type': 'application/offset+octet-stream',
        },
        file: file.path,
        offset,
        bytes,
        timeoutMs: timeouts.transferMs,
      }),
    );
    if (status < 300) return this.#parseOffset(headers['upload-offset']);
    if (headers['tus-resumable'] !== undefined && [...FORGOTTEN, ...ELSEWHERE].includes(status)) {
      const known = this.#fail(status, new Headers(headers), text);
      // What is said about the key is not about the upload.
      if (known.outage === null) return null;
      throw known;
    }
    const answer = await readAnswer(new Response(text, { status, headers }), this.#url(url));
    throw this.#fail(answer.status, answer.headers, await answer.text());
  }

  /** The next attempt asks where it is, or begins anew. */
  lost(): StorageError {
    return new StorageError(
      'unavailable',
      `Cannot upload "${this.#key}": storage lost count of it`,
    );
  }

  #parseOffset(header: string | null | undefined): number {
    const offset = header ? Number(header) : Number.NaN;
    checkAnswer(Number.isSafeInteger(offset), this.#doing);
    return offset;
  }

  get #headers(): Record<string, string> {
    return { ...this.#connection.headers(), 'tus-resumable': '1.0.0' };
  }

  #url(path: string): string {
    return `${this.#connection.settings.url}/storage/v1${path}`;
  }

  async #request(
    method: string,
    path: string,
    headers: Record<string, string>,
    expected: readonly number[] = [],
  ): Promise<Response> {
    const response = await translated(this.#doing, () =>
      this.#connection.fetch(this.#url(path), {
        method,
        headers: { ...this.#headers, ...headers },
      }),
    );
    if (response.ok || expected.includes(response.status)) {
      await response.body?.cancel();
      return response;
    }
    throw this.#fail(response.status, response.headers, await response.text());
  }

  get #doing(): string {
    return `upload "${this.#key}"`;
  }

  #fail(status: number, headers: Headers, message: string): CloudError {
    const refusal = fromResponse(status, message);
    const asked = parseRetryAfter(headers.get('retry-after'), headers.get('date'));
    const retryAfterMs = asked ?? splitStatus(refusal.statusCode).retryAfterMs;
    const statusCode = joinStatus(realStatus(refusal), retryAfterMs);
    return fromPlatform({ ...refusal, statusCode }, this.#doing, 'storage') as CloudError;
  }
}
