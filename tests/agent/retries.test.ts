/** The numbers of `upload/retries.ts`, each of them: a clock and a die that the test holds. */
import { expect, test } from 'vitest';
import { joinStatus, parseRetryAfter, splitStatus } from '../../node-agent/cloud/retry-after.ts';
import { backoffMs } from '../../node-agent/upload/backoff.ts';
import { Breaker } from '../../node-agent/upload/breaker.ts';

const AWAY = { kind: 'away', reason: 'out of reach' } as const;
const REFUSED = { kind: 'refused', reason: '401' } as const;

function makeBreaker(random = 1) {
  let now = 1000;
  const breaker = new Breaker(
    () => now,
    () => random,
  );
  const fail = (cause: typeof AWAY | typeof REFUSED = AWAY, retryAfterMs: number | null = null) =>
    breaker.failed(breaker.start(), cause, retryAfterMs);
  return {
    breaker,
    fail,
    pass: (ms: number) => {
      now += ms;
    },
  };
}

test.each([
  [0, 1, null, 1000],
  [1, 1, null, 2000],
  [2, 1, null, 4000],
  [8, 1, null, 256_000],
  [9, 1, null, 300_000],
  [1000, 1, null, 300_000],
  [3, 0.5, null, 4000],
  [3, 0, null, 0],
  // Never less than is asked for, and never more than five minutes, whoever asks.
  [0, 0, 7000, 7000],
  [0, 1, 700, 1000],
  [0, 0, 1e12, 300_000],
])(
  'after %i failures, at %d of the die, asked for %j ms, it waits %i ms',
  (attempts, random, asked, ms) => {
    expect(backoffMs(attempts, random, asked)).toBe(ms);
  },
);

test('it opens at the third failure in a row, and at the first refusal', () => {
  const { breaker, fail } = makeBreaker();
  for (const isOpen of [false, false, true]) {
    fail();
    expect(breaker.isOpen).toBe(isOpen);
  }
  const refused = makeBreaker();
  refused.fail(REFUSED);
  expect([refused.breaker.isOpen, refused.breaker.cause]).toEqual([true, REFUSED]);
});

test('an answer in between begins the count anew', () => {
  const { breaker, fail } = makeBreaker();
  fail();
  fail();
  breaker.succeeded();
  fail();
  fail();
  expect(breaker.isOpen).toBe(false);
  fail();
  expect(breaker.isOpen).toBe(true);
});

test('what was under way together counts once', () => {
  const { breaker, pass: letPass } = makeBreaker();
  const passes = [1, 2, 3, 4, 5].map(() => breaker.start());
  for (const pass of passes.slice(0, 3)) breaker.failed(pass, AWAY, null);
  letPass(400);
  for (const pass of passes.slice(3)) breaker.failed(pass, REFUSED, null);
  expect([breaker.waitMs, breaker.cause]).toEqual([600, AWAY]);
});

test('an answer to what was under way opens the way before its time', () => {
  const { breaker, fail } = makeBreaker();
  fail(REFUSED);
  breaker.succeeded();
  expect([breaker.allows(), breaker.waitMs]).toEqual([true, 0]);
});

test('nobody tries before the time that Retry-After says, and then one', () => {
  const { breaker, fail, pass } = makeBreaker(0);
  for (let i = 0; i < 3; i++) fail(AWAY, 5000);
  expect([breaker.allows(), breaker.waitMs]).toEqual([false, 5000]);
  pass(4999);
  expect([breaker.allows(), breaker.waitMs]).toEqual([false, 1]);
  pass(1);
  expect([breaker.allows(), breaker.waitMs]).toEqual([true, 0]);
  const probe = breaker.start();
  expect([probe.isProbe, breaker.allows(), breaker.waitMs]).toEqual([true, false, null]);
  // Another one that was under way tells nothing of the probe.
  breaker.failed({ isProbe: false }, AWAY, null);
  expect(breaker.allows()).toBe(false);
  breaker.failed(probe, AWAY, 3000);
  expect(breaker.waitMs).toBe(3000);
});

test('each probe that fails has the next wait up to twice as long: 8 seconds at most, refused 60', () => {
  for (const [cause, failures, waits] of [
    [AWAY, 3, [1000, 2000, 4000, 8000, 8000, 8000, 8000]],
    [REFUSED, 1, [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000]],
  ] as const) {
    const { breaker, fail, pass } = makeBreaker();
    for (let i = 0; i < failures; i++) fail(cause);
    for (const wait of waits) {
      expect(breaker.waitMs).toBe(wait);
      pass(wait);
      fail(cause);
    }
  }
});

test('a probe that says nothing lets another one try; one that is answered opens the way for all', () => {
  const { breaker, fail, pass } = makeBreaker();
  for (let i = 0; i < 3; i++) fail();
  pass(1000);
  const probe = breaker.start();
  breaker.undecided({ isProbe: false });
  expect(breaker.allows()).toBe(false);
  breaker.undecided(probe);
  expect(breaker.allows()).toBe(true);
  breaker.start();
  breaker.succeeded();
  expect([breaker.isOpen, breaker.cause, breaker.waitMs]).toEqual([false, null, 0]);
  expect([breaker.start().isProbe, breaker.allows()]).toEqual([false, true]);
});

test('what has changed lets one try at once', () => {
  const { breaker, fail } = makeBreaker();
  fail(REFUSED);
  expect(breaker.allows()).toBe(false);
  breaker.tryNow();
  expect(breaker.allows()).toBe(true);
});

const DATE = 'Fri, 27 Nov 2026 10:00:00 GMT';

test.each([
  [null, null, null],
  ['0', null, 0],
  ['120', null, 120_000],
  ['  7 ', null, 7000],
  ['12 s', null, null],
  ['s 12', null, null],
  ['soon', DATE, null],
  ['', DATE, null],
  ['Fri, 27 Nov 2026 10:00:30 GMT', DATE, 30_000],
  // By the clock of who asks: nothing where that is not told.
  ['Fri, 27 Nov 2026 10:00:30 GMT', null, null],
  ['Fri, 27 Nov 2026 09:59:00 GMT', DATE, 0],
])('Retry-After %j of an answer at %j asks for %j ms', (header, answeredAt, ms) => {
  expect(parseRetryAfter(header, answeredAt)).toBe(ms);
});

test('a status goes with what is asked for, and without', () => {
  expect(splitStatus(joinStatus(503, 2000))).toEqual({ status: 503, retryAfterMs: 2000 });
  expect(splitStatus(joinStatus(503, 0))).toEqual({ status: 503, retryAfterMs: 0 });
  expect(splitStatus(joinStatus(404, null))).toEqual({ status: 404, retryAfterMs: null });
  expect(splitStatus(413)).toEqual({ status: 413, retryAfterMs: null });
  expect(splitStatus(undefined)).toEqual({ status: 0, retryAfterMs: null });
});
