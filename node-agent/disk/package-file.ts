import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * A file of this package's own folder, from wherever this runs: the source, or what is built of it.
 * Where there is no such folder it is a path at which nothing is.
 */
export function packageFile(name: string): string {
  let folder = import.meta.dirname;
  while (!existsSync(join(folder, 'package.json')) && folder !== dirname(folder)) {
    folder = dirname(folder);
  }
  return join(folder, name);
}
