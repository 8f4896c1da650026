import { once } from 'node:events';
import { openAsBlob } from 'node:fs';
import { open } from 'node:fs/promises';
import type { ClientRequest, IncomingMessage } from 'node:http';

/** A part of a file, in bytes. */
export type FilePart = Readonly<{ path: string; offset: number; bytes: number }>;

/** What is asked. @property body `null`: nothing is sent */
export type Request = Readonly<{
  url: string;
  method: string;
  headers: Readonly<Record<string, string>>;
  body: FilePart | null;
  signal: AbortSignal;
}>;

/** What is answered. Whoever does not read the body to its end breaks off the connection. */
export type Reply = Readonly<{
  status: number;
  headers: Record<string, string>;
  body: AsyncIterable<Uint8Array>;
}>;

/** Sends a request whose body is part of a file. What fails with a system call is the disk's: the network's has none. */
export type Requester = (request: Request) => Promise<Reply>;

/** What is read and sent at a time. */
const POURED_BYTES = 256 * 1024;

/** By `node:http`, and one buffer: fetch keeps all of a body in memory that goes out slower than it is read. */
export async function requestByHttp({ body, url, ...input }: Request): Promise<Reply> {
  const { request } = url.startsWith('https:')
    ? await import('node:https')
    : await import('node:http');
  const { method, signal } = input;
  const length = body === null ? {} : { 'content-length': String(body.bytes) };
  const asked = request(url, { method, signal, headers: { ...input.headers, ...length } });
  // It may fail after it was answered too.
  asked.on('error', () => {});
  const answered = once(asked, 'response') as Promise<[IncomingMessage]>;
  if (body === null) asked.end();
  let ofDisk: unknown = null;
  const poured = body === null ? null : pour(body, asked);
  poured?.catch((error: unknown) => {
    ofDisk = error;
    asked.destroy();
  });
  const [response] = await answered.catch((error: unknown) => {
    throw ofDisk ?? ofNetwork(error);
  });
  const headers = Object.entries(response.headers).map(([name, value]) => [name, String(value)]);
  return {
    status: response.statusCode ?? 0,
    headers: Object.fromEntries(headers),
    body: readReply(asked, response),
  };
}

async function* readReply(asked: ClientRequest, response: IncomingMessage) {
  try {
    yield* response as AsyncIterable<Buffer>;
  } catch (error) {
    throw ofNetwork(error);
  } finally {
    // Who answers before all is sent wants no more of it.
    if (!asked.writableFinished) asked.destroy();
  }
}

/** @returns once all is sent, or nobody takes it; throws what the disk says */
async function pour({ path, offset, bytes }: FilePart, to: ClientRequest): Promise<void> {
  const handle = await open(path);
  try {
    const buffer = Buffer.allocUnsafeSlow(Math.min(bytes, POURED_BYTES));
    for (let done = 0; done < bytes; ) {
      const most = Math.min(buffer.length, bytes - done);
      const { bytesRead } = await handle.read(buffer, 0, most, offset + done);
      if (bytesRead === 0) throw new Error(`"${path}" ends before it should`);
      const isTaken = await new Promise<boolean>((resolve) => {
        to.write(buffer.subarray(0, bytesRead), (error) => resolve(!error));
      });
      if (!isTaken) return;
      done += bytesRead;
    }
    to.end();
  } finally {
    await handle.close();
  }
}

function ofNetwork(error: unknown): Error {
  const { message, code } = error as NodeJS.ErrnoException;
  return Object.assign(new Error(message, { cause: error }), code === undefined ? {} : { code });
}

/** By what is given in place of fetch. */
export function requestBy(send: typeof fetch): Requester {
  return async ({ body, url, ...init }) => {
    const part =
      body === null
        ? null
        : (await openAsBlob(body.path)).slice(body.offset, body.offset + body.bytes);
    const response = await send(url, { ...init, body: part });
    return {
      status: response.status,
      headers: Object.fromEntries(response.headers),
      body: response.body ?? none(),
    };
  };
}

async function* none(): AsyncGenerator<Uint8Array> {}
