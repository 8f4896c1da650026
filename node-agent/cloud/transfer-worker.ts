/**
 * What runs in a thread of its own: the bytes of archives on their way. Its heap is kept small,
 * for the garbage collector lets network buffers pile up in proportion to it.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { openAsBlob } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { useProxyOfProcess } from './proxy.ts';

useProxyOfProcess();

export type ReceiveInput = Readonly<{
  url: string;
  headers: Record<string, string>;
  /** The file to make; `null`: nothing is kept. */
  file: string | null;
  /** The longest wait for the next bytes, in milliseconds. */
  silenceMs: number;
}>;

export type SendInput = Readonly<{
  url: string;
  method: string;
  headers: Record<string, string>;
  file: string;
  /** Which part of the file. */
  offset: number;
  bytes: number;
  timeoutMs: number;
}>;

/** An answer, as far as somebody wants to know. */
export type Answer = Readonly<{
  status: number;
  headers: Record<string, string>;
  /** What an answer that is no success says. */
  text: string;
}>;

/** An Error would lose its code on the way between threads. */
export type Transferred<T> =
  | { value: T }
  /** What the disk said, which has a system call, or the network. */
  | { failure: { message: string; code?: string; syscall?: string; path?: string } };

/**
 * Downloads into a new file, and hashes on the way.
 *
 * @param request what sends requests
 */
export function receive(
  input: ReceiveInput,
  request: typeof fetch = fetch,
): Promise<Transferred<Answer & { sha256: string }>> {
  return settle(async () => {
    const idle = new AbortController();
    const abort = () => idle.abort(new DOMException('The server fell silent', 'TimeoutError'));
    let timer = setTimeout(abort, input.silenceMs);
    let handle: FileHandle | null = null;
    try {
      const response = await request(input.url, { headers: input.headers, signal: idle.signal });
      if (!response.ok) return { ...(await answerOf(response)), sha256: '' };
      if (input.file !== null) handle = await open(input.file, 'wx', 0o600);
      const hash = createHash('sha256');
      for await (const piece of response.body ?? []) {
        clearTimeout(timer);
        timer = setTimeout(abort, input.silenceMs);
        hash.update(piece);
        await handle?.writeFile(piece);
      }
      return { ...(await answerOf(response)), sha256: hash.digest('hex') };
    } finally {
      clearTimeout(timer);
      await handle?.close();
    }
  });
}

/** Sends a part of a file as the body of a request. */
export function send(
  input: SendInput,
  request: typeof fetch = fetch,
): Promise<Transferred<Answer>> {
  return settle(async () => {
    if (request === fetch && input.bytes > FETCHED_BYTES) return sendStreamed(input);
    const file = await openAsBlob(input.file);
    const response = await request(input.url, {
      method: input.method,
      headers: input.headers,
      body: file.slice(input.offset, input.offset + input.bytes),
      signal: AbortSignal.timeout(input.timeoutMs),
    });
    return answerOf(response);
  });
}

/** Node's fetch keeps all of a body in memory that goes out slower than it is read. What is larger goes by `node:http`. */
const FETCHED_BYTES = 6 * 1024 * 1024;
/** What is kept of an answer. */
const TEXT_BYTES = 64 * 1024;
/** What is read and sent at a time. */
const POURED_BYTES = 256 * 1024;

async function sendStreamed({ url, method, headers, ...input }: SendInput): Promise<Answer> {
  const { request } = url.startsWith('https:')
    ? await import('node:https')
    : await import('node:http');
  const { file, offset, bytes, timeoutMs } = input;
  const asked = request(url, {
    method,
    headers: { ...headers, 'content-length': String(bytes) },
    signal: AbortSignal.timeout(timeoutMs),
  });
  const answered = once(asked, 'response') as Promise<[IncomingMessage]>;
  // Who answers before all is sent is heard: what is sent fails then.
  pour(file, { offset, bytes }, asked).catch((error: Error) => asked.destroy(error));
  const [response] = await answered;
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of response as AsyncIterable<Buffer>) {
    size += piece.length;
    if (size <= TEXT_BYTES) pieces.push(piece);
  }
  const { statusCode: status = 0 } = response;
  const isWell = status >= 200 && status < 300;
  return {
    status,
    headers: Object.fromEntries(
      Object.entries(response.headers).map(([name, value]) => [name, String(value)]),
    ),
    text: isWell ? '' : Buffer.concat(pieces).toString(),
  };
}

/** By one buffer: thousands of them would wait for the garbage collector. */
async function pour(
  file: string,
  { offset, bytes }: Readonly<{ offset: number; bytes: number }>,
  to: ClientRequest,
): Promise<void> {
  const handle = await open(file);
  try {
    const buffer = Buffer.allocUnsafe(Math.min(bytes, POURED_BYTES));
    for (let done = 0; done < bytes && !to.destroyed; ) {
      const most = Math.min(buffer.length, bytes - done);
      const { bytesRead } = await handle.read(buffer, 0, most, offset + done);
      if (bytesRead === 0) throw new Error('The file ends before it should');
      await new Promise<void>((resolve, reject) => {
        to.write(buffer.subarray(0, bytesRead), (error) => (error ? reject(error) : resolve()));
      });
      done += bytesRead;
    }
    to.end();
  } finally {
    await handle.close();
  }
}

async function answerOf(response: Response): Promise<Answer> {
  const text = response.ok ? '' : await response.text();
  if (response.ok && !response.bodyUsed) await response.body?.cancel();
  return { status: response.status, headers: Object.fromEntries(response.headers), text };
}

async function settle<T>(work: () => Promise<T>): Promise<Transferred<T>> {
  try {
    return { value: await work() };
  } catch (error) {
    const { message, code, syscall, path } = error as NodeJS.ErrnoException;
    return {
      failure: {
        message,
        ...(typeof code === 'string' ? { code } : {}),
        ...(syscall === undefined ? {} : { syscall }),
        ...(path === undefined ? {} : { path }),
      },
    };
  }
}
