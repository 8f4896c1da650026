import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { FileStore } from '@tus/file-store';
import { Metadata, Server } from '@tus/server';
import { StorageProblem } from './errors.ts';
import { checkUpload, finishObject, type NewObject, type Objects } from './objects.ts';
import type { Caller } from './session.ts';

/** Where an upload goes, as its URL says it: `{bucket}/{key}/{version}`, in base64url. */
type Place = { bucket: string; key: string; version: string };

/** Resumable uploads: the server that Supabase uses, with our rows and rights around it. */
export class Resumable {
  readonly #objects: Objects;
  readonly #server: Server;
  readonly #origin: () => string;

  /** @param origin where clients reach the stack, once it listens */
  constructor(objects: Objects, folder: string, origin: () => string) {
    this.#objects = objects;
    this.#origin = origin;
    this.#server = new Server({
      path: '/upload/resumable',
      datastore: new FileStore({ directory: folder }),
      maxSize: objects.fileSizeLimit,
      namingFunction: () => randomUUID(),
      generateUrl: (request, { id }) => {
        const { bucket, key } = readMetadata(request.headers.get('upload-metadata'));
        return `${this.#origin()}/storage/v1/upload/resumable/${encodePlace({ bucket, key, version: id })}`;
      },
      getFileIdFromRequest: (request) => decodePlace(request.url)?.version,
      onUploadFinish: async (_request, upload) => {
        const metadata = upload.metadata ?? {};
        const object: NewObject = {
          bucket: metadata.bucketName ?? '',
          key: metadata.objectName ?? '',
          owner: metadata.owner || null,
          type: metadata.contentType ?? 'application/octet-stream',
          cacheControl: cacheControl(metadata.cacheControl),
          userMetadata: parseUserMetadata(metadata.metadata),
        };
        const written = await objects.blobs.adopt(upload.id, join(folder, upload.id));
        await finishObject(objects, object, upload.id, written);
        return {};
      },
      onUploadCreate: async (request, upload) => ({
        metadata: { ...upload.metadata, owner: request.headers.get('x-tus-owner') ?? '' },
      }),
    });
  }

  /**
   * Answers one request. Rights are asked for on every request that changes something, with the
   * request's own `x-upsert`: an upload begun with upsert cannot be aborted without it.
   */
  async handle(request: Request, authenticate: () => Promise<Caller>): Promise<Response> {
    let owner: string | null = null;
    if (request.method !== 'OPTIONS') {
      const caller = await authenticate();
      owner = caller.sub;
      const object = this.#objectOf(request, owner);
      if (request.method !== 'HEAD' && object !== null) {
        try {
          await checkUpload(this.#objects, caller, object, {
            upsert: request.headers.get('x-upsert') === 'true',
            contentLength: null,
          });
        } catch (error) {
          if (error instanceof StorageProblem) return plain(error);
          throw error;
        }
      }
    }
    const headers = new Headers(request.headers);
    headers.set('x-tus-owner', owner ?? '');
    const response = await this.#server.handleWeb(
      new Request(request, { headers, duplex: 'half' } as RequestInit),
    );
    if (response.status === 201 || response.status === 200) {
      response.headers.set('content-type', 'text/plain;charset=UTF-8');
    }
    return response;
  }

  #objectOf(request: Request, owner: string | null): NewObject | null {
    const place =
      request.method === 'POST'
        ? readMetadata(request.headers.get('upload-metadata'))
        : decodePlace(request.url);
    if (place === null) return null;
    const type = 'type' in place ? place.type : '';
    return {
      bucket: place.bucket,
      key: place.key,
      owner,
      type,
      cacheControl: '',
      userMetadata: null,
    };
  }
}

/** Under TUS the status is real and the body is the message. */
function plain(problem: StorageProblem): Response {
  return new Response(problem.message, {
    status: Number(problem.statusCode),
    headers: {
      'content-type': 'text/plain;charset=UTF-8',
      'content-length': String(Buffer.byteLength(problem.message)),
      'tus-resumable': '1.0.0',
    },
  });
}

function readMetadata(header: string | null): { bucket: string; key: string; type: string } {
  const metadata = header === null ? {} : Metadata.parse(header);
  return {
    bucket: metadata.bucketName ?? '',
    key: metadata.objectName ?? '',
    type: metadata.contentType ?? 'application/octet-stream',
  };
}

function parseUserMetadata(text: string | null | undefined): Record<string, unknown> | null {
  return text ? (JSON.parse(text) as Record<string, unknown>) : null;
}

function cacheControl(seconds: string | null | undefined): string {
  return seconds ? `max-age=${seconds}` : 'no-cache';
}

function encodePlace(place: Place): string {
  return Buffer.from(`${place.bucket}/${place.key}/${place.version}`).toString('base64url');
}

function decodePlace(url: string | undefined): Place | null {
  const text = Buffer.from(
    new URL(url ?? '').pathname.split('/').at(-1) ?? '',
    'base64url',
  ).toString();
  const [bucket, ...rest] = text.split('/');
  const version = rest.pop();
  if (bucket === undefined || version === undefined || rest.length === 0) return null;
  return { bucket, key: rest.join('/'), version };
}
