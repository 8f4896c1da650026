import { StorageError } from './errors.ts';

/** What the name of a host looks like. Two that differ only in case are the same. */
const HOST_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
/** How a host's key looks: 32 random bytes in base64url, after what tells it from other secrets. */
const HOST_KEY = /^cbh_[A-Za-z0-9_-]{43}$/;

/** How many random bytes a host's key has. */
export const HOST_KEY_BYTES = 32;

/** @param random in base64url */
export function formatHostKey(random: string): string {
  return `cbh_${random}`;
}

/** Tells whether a text may be the key of a host. */
export function isHostKey(text: string): boolean {
  return HOST_KEY.test(text);
}

/** @throws StorageError `invalid_input` */
export function parseHostName(name: string): string {
  if (HOST_NAME.test(name)) return name;
  throw new StorageError(
    'invalid_input',
    `Cannot use ${JSON.stringify(name)} as the name of a host: it has 1 to 63 letters, digits, ".", "_" or "-" and begins with a letter or digit`,
  );
}
