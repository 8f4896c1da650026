/** A request that is wrong is told every field of it, in words that are not a library's. */
import * as v from 'valibot';
import { expect, test } from 'vitest';
import { validate } from '../../functions/_shared/contract/validate.ts';

const schema = v.strictObject({
  name: v.string(),
  size: v.optional(v.pipe(v.number(), v.minValue(1, 'must be 1 or more'))),
  inner: v.optional(v.object({ deep: v.string() })),
});

test('what fits is given back', () => {
  expect(validate(schema, { name: 'a', size: 1 })).toEqual({ name: 'a', size: 1 });
});

test.each<[unknown, string]>([
  [{}, 'name: it is missing'],
  [{ name: 'a', other: 1 }, 'other: there is no such field'],
  [{ name: 'a', size: 0 }, 'size: must be 1 or more'],
  [{ name: 'a', inner: {} }, 'inner.deep: it is missing'],
  [{ name: 1 }, 'name: Invalid type: Expected string but received 1'],
  [{ name: 'a', inner: 'x' }, 'inner: Invalid type: Expected Object but received "x"'],
  [{ size: 0, other: 1 }, 'name: it is missing; size: must be 1 or more; other: there is no such'],
  [[], 'name: it is missing'],
  [null, 'body: Invalid type: Expected Object but received null'],
  [undefined, 'body: it is missing'],
])('%j: %s', (value, problem) => {
  expect(() => validate(schema, value)).toThrow(
    expect.objectContaining({
      code: 'invalid_input',
      message: expect.stringContaining(`Cannot use the request: ${problem}`),
    }),
  );
});
