/** What is the caller's own: its keys are as they were given. */
const OWN = 'metadata';

/** An object of the library in the form of the wire: keys in snake_case, all the way down. */
export function toWire(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(toWire);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      key === OWN ? inner : toWire(inner),
    ]),
  );
}
