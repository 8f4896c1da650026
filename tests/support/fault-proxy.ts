import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';
import { asBySecretKey } from './by-host-key.ts';

/** What goes wrong with one request. */
export type Fault =
  | {
      kind: 'answer';
      status: number;
      headers?: Record<string, string>;
      body?: unknown;
      /** Instead of a body: what is no JSON. */
      text?: string;
    }
  /** The connection is cut after so many bytes of the request's body. */
  | { kind: 'reset'; afterBytes: number }
  /** Nothing is ever answered. */
  | { kind: 'stall' }
  /** The answer ends after so many bytes of its body. */
  | { kind: 'truncate'; afterBytes: number }
  /** One byte of the answer's body is another. */
  | { kind: 'flip'; at: number }
  /** The request is carried out and its answer lost. */
  | { kind: 'lose' }
  /** The connection is refused. */
  | { kind: 'down' };

/** Says what goes wrong with a request; `null` where nothing does. `body` is not read yet. */
export type Rule = (method: string, path: string) => Fault | null;

/** A server in front of the stack on which things go wrong on demand. */
export type FaultProxy = {
  url: string;
  rule: Rule;
  /** Holds a request up, before it is carried out, until it is resolved; `PUT /storage/v1/…`. */
  delay: (line: string) => Promise<void>;
  /** The same of its answer. */
  hold: (line: string) => Promise<void>;
  /** Every request that arrived: `PUT /storage/v1/…`. */
  seen: string[];
  /** Bytes of bodies that were answered. */
  answeredBytes: number;
  close(): void;
};

/** Starts it. It goes with the test. */
export async function startFaultProxy(target: string): Promise<FaultProxy> {
  const proxy = await openFaultProxy(target);
  onTestFinished(() => proxy.close());
  return proxy;
}

/** Starts it outside of a test. */
export async function openFaultProxy(target: string): Promise<FaultProxy> {
  const proxy: FaultProxy = {
    url: '',
    rule: () => null,
    delay: async () => {},
    hold: async () => {},
    seen: [],
    answeredBytes: 0,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
  const server = createServer((incoming, outgoing) => {
    const [method, path] = asBySecretKey(incoming.method ?? '', incoming.url ?? '');
    proxy.seen.push(`${method} ${path}`);
    handle(proxy, new URL(target), incoming, outgoing);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  proxy.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return proxy;
}

/** A rule for the first `times` requests that match, and none after. */
export function first(times: number, match: RegExp, fault: Fault): Rule {
  let left = times;
  return (method, path) => {
    if (left === 0 || !match.test(`${method} ${path}`)) return null;
    left--;
    return fault;
  };
}

/** Rules one after another: the first that has something to say. */
export function any(...rules: Rule[]): Rule {
  return (method, path) => {
    for (const rule of rules) {
      const fault = rule(method, path);
      if (fault !== null) return fault;
    }
    return null;
  };
}

function handle(
  proxy: FaultProxy,
  target: URL,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): void {
  const [method, path] = asBySecretKey(incoming.method ?? '', incoming.url ?? '');
  const fault = proxy.rule(method, path);
  switch (fault?.kind) {
    case 'down':
      incoming.socket.destroy();
      return;
    case 'stall':
      incoming.resume();
      return;
    case 'answer':
      incoming.resume();
      incoming.on('end', () => {
        outgoing.writeHead(fault.status, { 'content-type': 'application/json', ...fault.headers });
        outgoing.end(fault.text ?? JSON.stringify(fault.body ?? { message: 'on demand' }));
      });
      return;
    case 'reset': {
      let bytes = 0;
      incoming.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes >= fault.afterBytes) incoming.socket.destroy();
      });
      return;
    }
  }
  const forward = request(
    {
      host: target.hostname,
      port: target.port,
      method: incoming.method,
      path: incoming.url,
      headers: { ...incoming.headers, host: target.host },
    },
    async (answer) => {
      await proxy.hold(`${method} ${path}`);
      if (fault?.kind === 'lose') {
        answer.resume();
        answer.on('end', () => incoming.socket.destroy());
        return;
      }
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      let bytes = 0;
      answer.on('data', (chunk: Buffer) => {
        const at = fault?.kind === 'flip' ? fault.at - bytes : -1;
        if (at >= 0 && at < chunk.length) chunk[at]! ^= 0xff;
        if (fault?.kind === 'truncate' && bytes + chunk.length > fault.afterBytes) {
          outgoing.write(chunk.subarray(0, fault.afterBytes - bytes), () =>
            outgoing.socket?.destroy(),
          );
          answer.destroy();
          return;
        }
        bytes += chunk.length;
        proxy.answeredBytes += chunk.length;
        outgoing.write(chunk);
      });
      answer.on('end', () => outgoing.end());
      answer.on('error', () => outgoing.destroy());
    },
  );
  forward.on('error', () => incoming.socket.destroy());
  void proxy.delay(`${method} ${path}`).then(() => incoming.pipe(forward));
}
