/** Pools of threads: who has which, and what becomes of what runs. */
import { expect, test } from 'vitest';
import { makeThreads } from '../../node-agent/threads/pool.ts';

const BESIDE = new URL('../support/thread-tasks.ts', import.meta.url).href;
const make = () => makeThreads('thread-tasks', BESIDE, { maxThreads: 1 });
const which = { name: 'which' };

/** Runs what never ends. @returns that it failed, once it runs */
async function hang(threads: ReturnType<typeof make>, signal?: AbortSignal) {
  const begun = new Int32Array(new SharedArrayBuffer(4));
  const task = { name: 'hang', ...(signal === undefined ? {} : { signal }) };
  const failed = expect(threads.run({ begun }, task)).rejects.toThrow();
  await Atomics.waitAsync(begun, 0, 0).value;
  return { failed };
}

test('an idle thread is left to who asks for one next, and to nobody else', async () => {
  const first = make();
  const thread = await first.run({}, which);
  expect(await first.run({}, which)).toBe(thread);
  const meanwhile = make();
  expect(await meanwhile.run({}, which)).not.toBe(thread);
  await first.close();
  await first.close();
  const next = make();
  expect(await next.run({}, which)).toBe(thread);
  await Promise.all([meanwhile.close(), next.close()]);
});

test('what runs ends with who had it run, and its thread too', async () => {
  const first = make();
  const thread = await first.run({}, which);
  const { failed } = await hang(first);
  await first.close();
  await failed;
  const next = make();
  expect(await next.run({}, which)).not.toBe(thread);
  await next.close();
});

test('a signal ends what runs; the next task has another thread', async () => {
  const threads = make();
  const stopping = new AbortController();
  const thread = await threads.run({}, which);
  const { failed } = await hang(threads, stopping.signal);
  stopping.abort();
  await failed;
  expect(await threads.run({}, which)).not.toBe(thread);
  await threads.close();
});

test('what a task throws comes back, and is no reason to end the thread', async () => {
  const threads = make();
  await expect(threads.run({}, { name: 'fail' })).rejects.toThrow('as it was thrown');
  await threads.close();
});

test('who closed runs nothing any more, not even what was asked for before', async () => {
  const threads = make();
  const asked = expect(threads.run({}, which)).rejects.toThrow('closed');
  await threads.close();
  await asked;
  await expect(threads.run({}, which)).rejects.toThrow('closed');
});
