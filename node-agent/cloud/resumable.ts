/** Upload in chunks: TUS 1.0.0 as Supabase Storage speaks it (chunks of 6 MiB, no others). */
import { stat } from 'node:fs/promises';
import { ARCHIVE_TYPE, StorageError } from '../contract.ts';
import type { Connection } from './connection.ts';
import type { ArchiveFile } from './objects.ts';
import { fromPlatform, fromResponse, translated } from './translate.ts';

const CHUNK_BYTES = 6 * 1024 * 1024;

/** The upload is forgotten, or is elsewhere than we think: the next attempt asks where it is. */
const ASK_AGAIN = [404, 409, 410];

/** Remembers where an upload goes on, across restarts. */
export type ResumePoint = Readonly<{
  url: string | null;
  save(url: string | null): void;
}>;

/** Sends an archive, going on where an earlier attempt ended if the server still knows it. */
export async function uploadInChunks(
  connection: Connection,
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
    resume.save(url);
    offset = 0;
  }
  try {
    while (offset < archive.bytes) {
      const next = await tus.append(url, offset, archive);
      if (next <= offset) throw fromPlatform({ status: 502 }, `upload "${key}"`, 'storage');
      offset = next;
    }
  } catch (error) {
    // What is refused for good leads nowhere any more.
    if (error instanceof StorageError && !error.retryable) resume.save(null);
    throw error;
  }
  resume.save(null);
}

class TusUpload {
  readonly #connection: Connection;
  readonly #key: string;

  constructor(connection: Connection, key: string) {
    this.#connection = connection;
    this.#key = key;
  }

  async create(archive: ArchiveFile): Promise<string> {
    const metadata = {
      bucketName: this.#connection.settings.bucket,
      objectName: this.#key,
      contentType: ARCHIVE_TYPE,
      cacheControl: '3600',
      metadata: JSON.stringify({ sha256: archive.sha256 }),
    };
    const response = await this.#request('POST', '/upload/resumable', {
      'upload-length': String(archive.bytes),
      'upload-metadata': Object.entries(metadata)
        .map(([name, value]) => `${name} ${Buffer.from(value).toString('base64')}`)
        .join(','),
      'x-upsert': 'false',
    });
    const location = response.headers.get('location');
    // Behind a proxy the server may not know its own address: only the name of the upload counts.
    const name = location === null ? undefined : location.split('?')[0]?.split('/').at(-1);
    if (!name) throw this.#fail(502);
    return `/upload/resumable/${name}`;
  }

  /** How much the server has; `null` where it knows the upload no more. */
  async offset(url: string): Promise<number | null> {
    const response = await this.#request('HEAD', url, {}, [403, 404, 410]);
    return response.ok ? this.#parseOffset(response.headers.get('upload-offset')) : null;
  }

  /** Sends the next chunk of a file. Returns how much the server has then. */
  async append(url: string, offset: number, file: ArchiveFile): Promise<number> {
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
    if (!ASK_AGAIN.includes(status)) throw this.#fail(status, text);
    throw new StorageError(
      'unavailable',
      `Cannot upload "${this.#key}": storage lost count of it (${status})`,
    );
  }

  #parseOffset(header: string | null | undefined): number {
    const offset = Number(header ?? Number.NaN);
    if (!Number.isSafeInteger(offset)) throw this.#fail(502);
    return offset;
  }

  get #headers(): Record<string, string> {
    const { key } = this.#connection.settings;
    return { authorization: `Bearer ${key}`, apikey: key, 'tus-resumable': '1.0.0' };
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
    throw this.#fail(response.status, await response.text());
  }

  get #doing(): string {
    return `upload "${this.#key}"`;
  }

  #fail(status: number, message = ''): StorageError {
    return fromPlatform(fromResponse(status, message), this.#doing, 'storage');
  }
}
