import { fc } from './properties.ts';

const SAFE_UNITS = [...'abcXYZ019._-+@ ()äé文件😀'];

const safePart = fc
  .string({ unit: fc.constantFrom(...SAFE_UNITS), minLength: 1, maxLength: 30 })
  .filter((part) => part !== '.' && part !== '..');

/** Paths that a generation may hold. */
export const safePath = fc
  .array(safePart, { minLength: 1, maxLength: 5 })
  .map((parts) => parts.join('/'));

const badPart = fc.oneof(
  fc.constantFrom('', '.', '..'),
  safePart.map((part) => `${part}\\x`),
  fc.integer({ min: 0, max: 31 }).map((code) => `x${String.fromCharCode(code)}y`),
  fc.constant('z'.repeat(256)),
  fc.constant('\udc00x'),
);

/** Paths that break one rule, wherever in them. */
export const hostilePath = fc.oneof(
  fc
    .tuple(fc.array(safePart, { maxLength: 3 }), badPart, fc.array(safePart, { maxLength: 3 }))
    .map(([before, bad, after]) => [...before, bad, ...after].join('/')),
  safePath.map((path) => `/${path}`),
  safePath.map((path) => `C:${path}`),
  fc.nat({ max: 20 }).map((n) => `${'d'.repeat(150)}/`.repeat(7 + n).concat('x')),
);
