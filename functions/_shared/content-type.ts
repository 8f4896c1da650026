import { getMimeType } from 'hono/utils/mime';

/** Texts that browsers need to know for what they are. None of them is run from an answer. */
const TEXT_TYPES = new Set([
  'application/json',
  'application/ld+json',
  'application/manifest+json',
  'image/svg+xml',
  'text/calendar',
  'text/css',
  'text/csv',
  'text/javascript',
]);

/**
 * Says as what a file is served. Its bytes decide whether it is a text (UTF-8 without NUL), its
 * name which; what a browser would run as a page, HTML above all, is a plain text.
 */
export function contentTypeOf(path: string, bytes: Uint8Array): string {
  const known = getMimeType(path.slice(path.lastIndexOf('/') + 1))?.split(';')[0];
  if (findText(bytes) !== null) {
    return `${known && TEXT_TYPES.has(known) ? known : 'text/plain'}; charset=utf-8`;
  }
  const isBinary = known && !known.startsWith('text/') && !/xml|json/.test(known);
  return isBinary ? known : 'application/octet-stream';
}

/** Reads a text; `null` where the bytes are none. */
export function findText(bytes: Uint8Array): string | null {
  if (bytes.includes(0)) return null;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}
