import { findText } from '../disk/read-manifest.ts';
import type { Layout } from './layout.ts';

/** The text of a small file of the store; `null` where it is not there. */
export function readText(layout: Layout, path: string): string | null {
  return findText(layout.placeOf(path));
}
