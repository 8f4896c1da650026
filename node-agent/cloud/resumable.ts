/** Upload in chunks: TUS 1.0.0 as Supabase Storage speaks it (chunks of 6 MiB, no others). */
import { open } from 'node:fs/promises';
import { ARCHIVE_TYPE, StorageError } from '../contract.ts';
import type { Connection } from './connection.ts';
import type { ArchiveFile } from './objects.ts';
import { fromPlatform, fromResponse } from './translate.ts';

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
  const tus = new TusUpload(connection, key);
  let url = resume.url;
  let offset = url === null ? null : await tus.offset(url);
  if (url === null || offset === null) {
    url = await tus.create(archive);
    resume.save(url);
    offset = 0;
  }
  const handle = await open(archive.path);
  try {
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    while (offset < archive.bytes) {
      const { bytesRead } = await handle.read(chunk, 0, CHUNK_BYTES, offset);
      if (bytesRead === 0) {
        throw new StorageError('corrupt', `Cannot upload "${key}": "${archive.path}" is too short`);
      }
      const next = await tus.append(url, offset, chunk.subarray(0, bytesRead));
      if (next <= offset) throw fromPlatform({ status: 502 }, `upload "${key}"`, 'storage');
      offset = next;
    }
  } catch (error) {
    // What is refused for good leads nowhere any more.
    if (error instanceof StorageError && !error.retryable) resume.save(null);
    throw error;
  } finally {
    await handle.close();
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
    const response = await this.#request('HEAD', url, {}, undefined, [403, 404, 410]);
    return response.ok ? this.#readOffset(response) : null;
  }

  async append(url: string, offset: number, chunk: Uint8Array<ArrayBuffer>): Promise<number> {
    const headers = {
      'upload-offset': String(offset),
      'content-type': 'application/offset+octet-stream',
    };
    const response = await this.#request('PATCH', url, headers, chunk, ASK_AGAIN);
    if (response.ok) return this.#readOffset(response);
    throw new StorageError(
      'unavailable',
      `Cannot upload "${this.#key}": storage lost count of it (${response.status})`,
    );
  }

  #readOffset(response: Response): number {
    const offset = Number(response.headers.get('upload-offset') ?? Number.NaN);
    if (!Number.isSafeInteger(offset)) throw this.#fail(502);
    return offset;
  }

  async #request(
    method: string,
    path: string,
    headers: Record<string, string>,
    body?: Uint8Array<ArrayBuffer>,
    expected: readonly number[] = [],
  ): Promise<Response> {
    const { settings, fetch } = this.#connection;
    let response: Response;
    try {
      response = await fetch(`${settings.url}/storage/v1${path}`, {
        method,
        headers: {
          authorization: `Bearer ${settings.key}`,
          apikey: settings.key,
          'tus-resumable': '1.0.0',
          ...headers,
        },
        ...(body === undefined ? {} : { body }),
      });
    } catch (error) {
      throw fromPlatform(error, `upload "${this.#key}"`, 'storage');
    }
    if (response.ok || expected.includes(response.status)) {
      await response.body?.cancel();
      return response;
    }
    throw this.#fail(response.status, await response.text());
  }

  #fail(status: number, message = ''): StorageError {
    return fromPlatform(fromResponse(status, message), `upload "${this.#key}"`, 'storage');
  }
}
