/** What the other tests expect of `@std/assert`: holds for the real one and for its twin. */
import { AssertionError, assert, assertEquals, assertMatch, assertRejects } from '@std/assert';

function fails(run: () => void): void {
  try {
    run();
  } catch (error) {
    if (error instanceof AssertionError) return;
    throw error;
  }
  throw new Error('It passed');
}

Deno.test('assert, assertEquals and assertMatch', () => {
  assert(1);
  fails(() => assert(0, 'zero'));
  assertEquals({ a: [1, new Uint8Array([2])] }, { a: [1, new Uint8Array([2])] });
  fails(() => assertEquals<unknown>({ a: 1 }, { a: '1' }));
  fails(() => assertEquals<unknown>([1], [1, 2]));
  assertMatch('abc', /b/);
  fails(() => assertMatch('abc', /x/));
});

Deno.test('assertRejects', async () => {
  const reject = () => Promise.reject(new TypeError('with words'));
  assertEquals((await assertRejects(reject, TypeError, 'words')).message, 'with words');
  for (const wrong of [
    () => assertRejects(reject, RangeError),
    () => assertRejects(reject, TypeError, 'others'),
    () => assertRejects(() => Promise.resolve(1)),
  ]) {
    const error = await wrong().catch((error: unknown) => error);
    assert(error instanceof AssertionError);
  }
});
