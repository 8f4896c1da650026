/**
 * What runs in a thread of its own: the bytes of archives on their way. Its heap is kept small,
 * for the garbage collector lets network buffers pile up in proportion to it.
 */
import { createHash } from 'node:crypto';
import { openAsBlob } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
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
