/** How things are written for people. */

const number = new Intl.NumberFormat('en');

export const count = (value: number): string => number.format(value);

/** `3 files`, `1 file`. */
export function counted(value: number, noun: string): string {
  return `${count(value)} ${noun}${value === 1 ? '' : 's'}`;
}

/** In powers of a thousand: `12.3 MB`. */
export function bytes(value: number | null): string {
  if (value === null) return '–';
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit++) value /= 1000;
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** `45 ms`, `1.2 s`. */
export function duration(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

const SPANS: readonly [Intl.RelativeTimeFormatUnit, number][] = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
];
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });

/** `3 minutes ago`. */
export function ago(time: string, now = Date.now()): string {
  const ms = Date.parse(time) - now;
  const [unit, length] = SPANS.find(([, span]) => Math.abs(ms) >= span) ?? ['second', 1000];
  return unit === 'second' ? 'just now' : relative.format(Math.trunc(ms / length), unit);
}

export const clock = (time: string): string => new Date(time).toLocaleTimeString();
export const dayOf = (time: string): string =>
  new Date(time).toLocaleDateString(undefined, { dateStyle: 'full' });
export const moment = (time: string): string => new Date(time).toLocaleString();
