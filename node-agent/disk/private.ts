/**
 * Modes of what the agent makes, whatever the umask allows: what is saved is for no other user of the
 * host. A file of a tree keeps the execute bit of its owner; the manifest has the rest.
 */
export const PRIVATE_FOLDER = 0o700;
export const PRIVATE_FILE = 0o600;

/** Of a mode, what a manifest keeps: permissions alone, and always those that the agent itself needs. */
export function keptMode(mode: number): number {
  return (mode & 0o777) | PRIVATE_FILE;
}

/** The mode of a file of a tree. @param mode what the manifest says */
export function privateMode(mode: number): number {
  return (mode & 0o700) | PRIVATE_FILE;
}
