/** `waitFor` where Realtime tells what happens: by a stand-in for the channel of supabase-js. */
import { createClient as createSupabase } from '@supabase/supabase-js';
import { expect, inject, test } from 'vitest';
import { createClient, type Live } from '../../functions/client/index.ts';
import { makeUser, serviceClient, uniqueId } from '../support/cloud.ts';
import { putGeneration } from '../support/generation.ts';

type Told = (message: { payload: object }) => void;

/** A client of Realtime whose messages and states the test makes. */
function createLive() {
  const channels: { topic: string; tell: Told; turn: (state: string) => void; isOpen: boolean }[] =
    [];
  const opened: (() => void)[] = [];
  const live: Live = {
    channel(topic, { config }) {
      expect(config).toEqual({ private: true });
      const own = { topic, tell: (() => {}) as Told, turn: (_: string) => {}, isOpen: true };
      const channel = {
        own,
        on(_type: string, _filter: object, told: Told) {
          own.tell = told;
          return channel;
        },
        subscribe(told: (state: string) => void) {
          own.turn = told;
          channels.push(own);
          for (const tell of opened.splice(0)) tell();
        },
      };
      return channel;
    },
    removeChannel(channel) {
      (channel as unknown as { own: { isOpen: boolean } }).own.isOpen = false;
    },
  };
  return {
    live,
    channels,
    async opened(count: number) {
      while (channels.length < count) await new Promise<void>((resolve) => opened.push(resolve));
      return channels[count - 1]!;
    },
  };
}

/** A client that counts what it asks, and a generation on its way. */
async function waiting() {
  const user = await makeUser();
  const stand = createLive();
  const { SUPABASE_URL: url } = inject('stack');
  const client = createClient(url, () => user.token, { live: stand.live });
  const project = uniqueId();
  await putGeneration({ projectId: project, version: 1, ownerId: user.id, status: 'pending' });
  const set = async (status: string) => {
    const rows = serviceClient().from('storage_generations');
    expect((await rows.update({ status }).eq('project_id', project)).error).toBeNull();
  };
  return { ...stand, user, client, project, set };
}

test('a message about it ends the wait at once, one channel serves all, and goes with the last', async () => {
  const { client, project, user, channels, opened, set } = await waiting();
  const first = client.waitFor(project, 1, 'verified');
  const second = client.waitFor(project, 1, 'uploaded');
  const channel = await opened(1);
  expect(channel.topic).toBe(`storage:${user.id}`);
  channel.turn('SUBSCRIBED');
  await set('uploaded');
  channel.tell({ payload: { project_id: project, version: 1, status: 'uploaded' } });
  expect(await second).toMatchObject({ status: 'uploaded' });
  expect(channel.isOpen).toBe(true);
  await set('verified');
  channel.tell({ payload: { project_id: project, version: 1 } });
  expect(await first).toMatchObject({ status: 'verified' });
  expect([channels.length, channel.isOpen]).toEqual([1, false]);
  const again = client.waitFor(project, 1, 'verified');
  expect(await again).toMatchObject({ status: 'verified' });
});

test('what happened before it was listened to is seen', async () => {
  const { client, project, opened, set } = await waiting();
  const wait = client.waitFor(project, 1, 'verified');
  const channel = await opened(1);
  await set('verified');
  channel.turn('SUBSCRIBED');
  expect(await wait).toMatchObject({ status: 'verified' });
});

test.each(['CHANNEL_ERROR', 'TIMED_OUT', 'CLOSED'])('%s: it asks instead', async (state) => {
  const { client, project, opened, set } = await waiting();
  const wait = client.waitFor(project, 1, 'verified');
  const channel = await opened(1);
  channel.turn('SUBSCRIBED');
  channel.turn(state);
  await set('verified');
  expect(await wait).toMatchObject({ status: 'verified' });
});

test('a Realtime that throws, and a token that names nobody, leave it to asking', async () => {
  const { client: _, project, user, set } = await waiting();
  const { SUPABASE_URL: url } = inject('stack');
  const live = {
    channel: () => {
      throw new Error('no Realtime here');
    },
    removeChannel() {},
  } as Live;
  const client = createClient(url, () => user.token, { live });
  const wait = client.waitFor(project, 1, 'verified');
  await set('verified');
  expect(await wait).toMatchObject({ status: 'verified' });
  const nobody = createClient(url, () => 'no.token', { live });
  await expect(nobody.waitFor(project, 1, 'verified')).rejects.toMatchObject({
    code: 'unauthenticated',
  });
});

test('a client of supabase-js is what it takes', () => {
  const live: Live = createSupabase(inject('stack').SUPABASE_URL, 'key');
  expect(live.channel).toBeTypeOf('function');
});
