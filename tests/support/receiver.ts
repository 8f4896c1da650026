import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { Webhook as Verifier } from 'standardwebhooks';
import { onTestFinished } from 'vitest';

/** What a receiver of webhooks was sent. */
export type Received = Readonly<{ headers: IncomingHttpHeaders; body: string }>;

/** How it answers what it is sent. */
export type Answer = (answer: ServerResponse, received: Received) => void;

/** A receiver of webhooks, that takes all unless it is told to answer something else. */
export async function startReceiver() {
  const received: Received[] = [];
  const waiting: (() => void)[] = [];
  const receiver = {
    url: '',
    received,
    answer: ((answer) => answer.writeHead(204).end()) as Answer,
    /** What it was sent, once it is so many. */
    async after(count: number): Promise<Received[]> {
      while (received.length < count) {
        await new Promise<void>((resolve) => waiting.push(resolve));
      }
      return received;
    },
  };
  const server = createServer(async (request, answer) => {
    const one = { headers: request.headers, body: await text(request) };
    received.push(one);
    receiver.answer(answer, one);
    for (const wake of waiting.splice(0)) wake();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  receiver.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook?token=of-the-receiver`;
  return receiver;
}

/** What was sent, as the receiver's own library reads it. @throws where it is not signed with this secret */
export function verify({ headers, body }: Received, secret: string) {
  const message = new Verifier(secret).verify(body, headers as Record<string, string>);
  return message as { type: string; timestamp: string; data: Record<string, unknown> };
}

export const idOf = ({ headers }: Received) => headers['webhook-id'];
export const typeOf = ({ body }: Received) => (JSON.parse(body) as { type: string }).type;
