import { randomUUID } from 'node:crypto';
import { FileStore } from '@tus/file-store';
import { Metadata, Server } from '@tus/server';
import { findBucket } from './buckets.ts';
import { problems, StorageProblem } from './errors.ts';
import { parseJson } from './incoming.ts';
import {
  checkFileName,
  checkUpload,
  finishObject,
  limitOf,
  type NewObject,
  type Objects,
} from './objects.ts';
import type { Caller } from './session.ts';

const PATH = '/upload/resumable';
/** Where a signed upload needs no token of a user. */
const SIGNED_PATH = `${PATH}/sign`;
const TEXT = 'text/plain;charset=UTF-8';
/** Who asks, from our door to what the server calls at the end. */
const OWNER = 'x-tus-owner';

/** Where an upload goes, as its URL says it: `{bucket}/{key}/{version}`, in base64url. */
type Place = { bucket: string; key: string; version: string };
type UploadPlace = { bucket: string; key: string; type: string };

/** Resumable uploads: the server that Supabase uses, with our rows and rights around it. */
export class Resumable {
  readonly #objects: Objects;
  readonly #store: FileStore;
  readonly #server: Server;

  /** @param origin where clients reach the stack, once it listens */
  constructor(objects: Objects, origin: () => string) {
    this.#objects = objects;
    // Parts of an upload and the finished one are the same file, as on the real server.
    this.#store = new FileStore({ directory: objects.blobs.folder });
    this.#server = new Server({
      path: PATH,
      datastore: this.#store,
      disableTerminationForFinishedUploads: true,
      maxSize: (request, version) => this.#maxSize(request, version),
      namingFunction: () => randomUUID(),
      generateUrl: (request, { id }) => {
        const { bucket, key } = readMetadata(request.headers.get('upload-metadata'));
        const path = isSigned(request) ? SIGNED_PATH : PATH;
        return `${origin()}/storage/v1${path}/${encodePlace({ bucket, key, version: id })}`;
      },
      getFileIdFromRequest: (request) => decodePlace(request.url)?.version,
      onUploadCreate: async (_request, { metadata }) => ({
        metadata: { ...metadata, cacheControl: cacheControl(metadata?.cacheControl) },
      }),
      onUploadFinish: async (request, upload) => {
        const { metadata } = upload;
        const object: NewObject = {
          bucket: metadata?.bucketName ?? '',
          key: metadata?.objectName ?? '',
          owner: request.headers.get(OWNER) || null,
          type: metadata?.contentType ?? 'application/octet-stream',
          cacheControl: metadata?.cacheControl ?? 'no-cache',
          userMetadata: parseJson(metadata?.metadata ?? ''),
        };
        await finishObject(objects, object, upload.id, await objects.blobs.describe(upload.id));
        return {};
      },
    });
  }

  /** Answers one request. Its token, or the signature of its upload, is asked for first. */
  async handle(request: Request): Promise<Response> {
    let owner: string | null = null;
    if (request.method !== 'OPTIONS') {
      const caller = isSigned(request) ? null : await this.#authenticate(request);
      try {
        owner = await this.#admit(request, caller);
      } catch (error) {
        if (error instanceof StorageProblem) return plain(error, request);
        throw error;
      }
    }
    const headers = new Headers(request.headers);
    headers.set(OWNER, owner ?? '');
    const response = await this.#server.handleWeb(
      new Request(request, { headers, duplex: 'half' } as RequestInit),
    );
    const isRefusedHead = request.method === 'HEAD' && !response.ok;
    if (isRefusedHead) response.headers.delete('content-length');
    if (isRefusedHead || response.status === 201 || response.status === 200) {
      response.headers.set('content-type', TEXT);
    }
    return response;
  }

  #authenticate(request: Request): Promise<Caller> {
    return this.#objects.sessions.authenticate(request.headers.get('authorization') ?? '');
  }

  /**
   * Asks for the rights of every request that changes something, with the request's own `x-upsert`:
   * an upload begun with upsert cannot be aborted without it.
   *
   * @param caller `null` where a signature has to do
   * @returns whose what comes of it is
   */
  async #admit(request: Request, caller: Caller | null): Promise<string | null> {
    const place = await this.#placeOf(request);
    if (caller === null) {
      const token = request.headers.get('x-signature');
      if (token === null) throw problems.invalidSignature('Missing x-signature header');
      const { sessions } = this.#objects;
      const claims = await sessions.verifySigned(token, `${place.bucket}/${place.key}`);
      if (request.method === 'POST') await this.#check(place, null, true);
      return typeof claims.owner === 'string' ? claims.owner : null;
    }
    if (request.method !== 'HEAD') {
      await this.#check(place, caller, request.headers.get('x-upsert') === 'true');
    }
    return caller.sub;
  }

  async #check(place: UploadPlace, caller: Caller | null, upsert: boolean): Promise<void> {
    const object: NewObject = {
      ...place,
      owner: caller?.sub ?? null,
      cacheControl: '',
      userMetadata: null,
    };
    await checkUpload(this.#objects, caller, object, { upsert, contentLength: null });
    checkFileName(place.key);
  }

  /** Where the upload goes that a request begins, or that its URL names. */
  async #placeOf(request: Request): Promise<UploadPlace> {
    if (request.method === 'POST') return readMetadata(request.headers.get('upload-metadata'));
    const place = decodePlace(request.url);
    if (place === null) throw problems.invalidUploadId();
    const known = await this.#store.getUpload(place.version).catch(() => null);
    // The id of another upload, with a name of the caller's own.
    const { bucketName, objectName } = known?.metadata ?? {};
    if (known !== null && (bucketName !== place.bucket || objectName !== place.key)) {
      throw problems.invalidUploadId();
    }
    return { ...place, type: known?.metadata?.contentType ?? '' };
  }

  async #maxSize(request: { headers: Headers; url?: string }, version: string | null) {
    const { sessions, fileSizeLimit } = this.#objects;
    const place = decodePlace(request.url) ?? readMetadata(request.headers.get('upload-metadata'));
    const bucket = version === null ? null : await findBucket(sessions, place.bucket);
    return bucket === null ? fileSizeLimit : limitOf(bucket, place.key, fileSizeLimit);
  }
}

function isSigned(request: { url?: string }): boolean {
  return new URL(request.url ?? '').pathname.startsWith(SIGNED_PATH);
}

/** Under TUS the status is real and the body is the message. */
function plain(problem: StorageProblem, request: Request): Response {
  const isHead = request.method === 'HEAD';
  return new Response(isHead ? null : problem.message, {
    status: Number(problem.statusCode),
    headers: {
      'content-type': TEXT,
      ...(isHead ? {} : { 'content-length': String(Buffer.byteLength(problem.message)) }),
      'tus-resumable': '1.0.0',
      // Nobody reads the rest of the chunk.
      ...(request.method === 'PATCH' ? { connection: 'close' } : {}),
    },
  });
}

function readMetadata(header: string | null): { bucket: string; key: string; type: string } {
  const metadata = header === null ? {} : parseMetadata(header);
  return {
    bucket: metadata.bucketName ?? '',
    key: metadata.objectName ?? '',
    type: metadata.contentType ?? 'application/octet-stream',
  };
}

function cacheControl(seconds: string | null | undefined): string {
  return /^-?\d+$/.test(seconds ?? '') ? `max-age=${seconds}` : 'no-cache';
}

function parseMetadata(header: string): Record<string, string | null> {
  try {
    return Metadata.parse(header);
  } catch {
    throw new StorageProblem(400, 'TusError', 'Upload-Metadata is invalid', 'TusError');
  }
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
