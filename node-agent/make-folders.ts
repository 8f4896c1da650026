import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Makes a folder and those above it. Node's own recursive way never ends on a file system that takes
 * no folders, as /proc is one.
 *
 * @returns the outermost that was made; `undefined` where all were there
 */
export function makeFolders(folder: string): string | undefined {
  let outermost: string | undefined;
  for (let hasParent = false; ; hasParent = true) {
    try {
      mkdirSync(folder);
      return outermost ?? folder;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EEXIST' && statSync(folder).isDirectory()) return outermost;
      if (code !== 'ENOENT' || hasParent) throw error;
    }
    outermost = makeFolders(dirname(folder));
  }
}
