import { randomUUID } from 'node:crypto';
import type { Delivery } from '../catalog/deliveries.ts';
import type { Webhook } from './webhook.ts';

/**
 * What is sent: `id` is the same however often it is. The body is that of Standard Webhooks:
 * `{ type, timestamp, data }`.
 */
export type Message = Readonly<{ id: string; body: string }>;

/** An event as it is owed, to be sent. */
export function messageOf({ event_id, body }: Pick<Delivery, 'event_id' | 'body'>): Message {
  const { kind, at, ...data } = JSON.parse(body) as { kind: string; at: string };
  return {
    id: `evt_${event_id}`,
    body: JSON.stringify({ type: kind, timestamp: at, data: { event_id, ...data } }),
  };
}

/** Nothing happened: somebody tries whether the receiver hears of it. */
export function testMessage({ id }: Webhook, now: number): Message {
  const body = { type: 'webhook.test', timestamp: new Date(now).toISOString() };
  return {
    id: `test_${randomUUID()}`,
    body: JSON.stringify({ ...body, data: { webhook_id: id } }),
  };
}
