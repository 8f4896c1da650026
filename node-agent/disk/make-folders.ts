import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { PRIVATE_FOLDER } from './private.ts';

/**
 * Makes a folder and those above it, for their owner's eyes alone. Node's own recursive way never ends on a file system that takes
 * no folders, as /proc is one.
 *
 * @returns the outermost that was made; `undefined` where all were there
 */
export function makeFolders(folder: string): string | undefined {
  let outermost: string | undefined;
  for (let hasParent = false; ; hasParent = true) {
    try {
      mkdirSync(folder, PRIVATE_FOLDER);
      return outermost ?? folder;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EEXIST' && statSync(folder).isDirectory()) return outermost;
      if (code !== 'ENOENT' || hasParent) throw error;
    }
    outermost = makeFolders(dirname(folder));
  }
}
