/**
 * What runs in a thread of its own: the bytes of archives on their way. Its heap is kept small,
 * for the garbage collector lets network buffers pile up in proportion to it.
 */
import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { useProxyOfProcess } from './proxy.ts';
import { type Reply, type Requester, requestByHttp } from './requests.ts';

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

/** What is kept of an answer. */
const TEXT_BYTES = 64 * 1024;

/**
 * Downloads into a new file, and hashes on the way.
 *
 * @param request what sends requests
 */
export function receive(
  input: ReceiveInput,
  request: Requester = requestByHttp,
): Promise<Transferred<Answer & { sha256: string }>> {
  return settle(async () => {
    const { url, headers } = input;
    const idle = new AbortController();
    const abort = () => idle.abort(new DOMException('The server fell silent', 'TimeoutError'));
    let timer = setTimeout(abort, input.silenceMs);
    let handle: FileHandle | null = null;
    try {
      const asked = { url, headers, method: 'GET', body: null, signal: idle.signal };
      const reply = await request(asked);
      if (!isSuccess(reply)) return { ...(await answerOf(reply)), sha256: '' };
      if (input.file !== null) handle = await open(input.file, 'wx', 0o600);
      const hash = createHash('sha256');
      for await (const piece of reply.body) {
        clearTimeout(timer);
        timer = setTimeout(abort, input.silenceMs);
        hash.update(piece);
        await handle?.writeFile(piece);
      }
      const { status, headers: said } = reply;
      return { status, headers: said, text: '', sha256: hash.digest('hex') };
    } catch (error) {
      // What is not read to its end would keep the connection.
      idle.abort();
      throw error;
    } finally {
      clearTimeout(timer);
      await handle?.close();
    }
  });
}

/** Sends a part of a file as the body of a request. */
export function send(
  input: SendInput,
  request: Requester = requestByHttp,
): Promise<Transferred<Answer>> {
  const { url, method, headers, file: path, offset, bytes, timeoutMs } = input;
  return settle(async () => {
    const signal = AbortSignal.timeout(timeoutMs);
    const body = { path, offset, bytes };
    return answerOf(await request({ url, method, headers, body, signal }));
  });
}

const isSuccess = ({ status }: Reply) => status >= 200 && status < 300;

async function answerOf(reply: Reply): Promise<Answer> {
  const { status, headers, body } = reply;
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of body) {
    pieces.push(piece);
    bytes += piece.length;
    if (bytes > TEXT_BYTES) break;
  }
  const text = isSuccess(reply) ? '' : Buffer.concat(pieces).toString();
  return { status, headers, text };
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
