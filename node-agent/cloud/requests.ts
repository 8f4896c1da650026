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

/** Who asks: a gateway may refuse who does not say. */
const USER_AGENT = { 'user-agent': 'codebegen-storage' };

/** By `node:http`, and one buffer: fetch keeps all of a body in memory that goes out slower than it is read. */
export async function requestByHttp({ body, url, ...input }: Request): Promise<Reply> {
  const { request } = url.startsWith('https:')
    ? await import('node:https')
    : await import('node:http');
  const { method, signal } = input;
  const length = body === null ? {} : { 'content-length': String(body.bytes) };
  const sent = { ...USER_AGENT, ...input.headers, ...length };
  const asked = request(url, { method, signal, headers: sent });
  // It may fail after it was answered too.
  asked.on('error', () => {});
  const ofNetwork = (error: unknown) => withoutCall(signal.aborted ? signal.reason : error);
  const answered = once(asked, 'response') as Promise<[IncomingMessage]>;
  let ofDisk: unknown = null;
  if (body === null) asked.end();
  else {
    pour(body, asked).catch((error: unknown) => {
      ofDisk = error;
      asked.destroy();
    });
  }
  const [response] = await answered.catch((error: unknown) => {
    throw ofDisk ?? ofNetwork(error);
  });
  const headers = Object.entries(response.headers).map(([name, value]) => [name, String(value)]);
  const read = async function* () {
    try {
      yield* response as AsyncIterable<Buffer>;
    } catch (error) {
      throw ofNetwork(error);
    } finally {
      // Who answers before all is sent wants no more of it.
      if (!asked.writableFinished) asked.destroy();
    }
  };
  return {
    status: response.statusCode ?? 0,
    headers: Object.fromEntries(headers),
    body: read(),
  };
}

/** Ends once all is sent, or nobody takes it. @throws what the disk says */
async function pour({ path, offset, bytes }: FilePart, to: ClientRequest): Promise<void> {
  const handle = await open(path);
  try {
    let settle: (isTaken: boolean) => void = () => {};
    // Of what is written where no connection comes this alone tells.
    to.once('close', () => settle(false));
    const buffer = Buffer.allocUnsafeSlow(Math.min(bytes, POURED_BYTES));
    for (let done = 0; done < bytes; ) {
      const most = Math.min(buffer.length, bytes - done);
      const { bytesRead } = await handle.read(buffer, 0, most, offset + done);
      if (bytesRead === 0) throw endsEarly(path);
      if (to.closed) return;
      const isTaken = await new Promise<boolean>((resolve) => {
        settle = resolve;
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

function endsEarly(path: string): Error {
  const error = new Error(`"${path}" ends before it should`);
  return Object.assign(error, { code: 'EIO', syscall: 'read', path });
}

function withoutCall(error: unknown): Error {
  const { message, code } = error as NodeJS.ErrnoException;
  const named = typeof code === 'string' ? { code } : {};
  return Object.assign(new Error(message, { cause: error }), named);
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
