import { statSync } from 'node:fs';
import { dirname } from 'node:path';

/** What the folders of a project looked like right before something was put there, or taken away, and after. */
export type FolderChange = Readonly<{ before: string | null; after: string | null }>;

/**
 * Changes whenever something is put into the folders of a project, or taken out; `null` without them.
 *
 * @param generations the folder of its generations
 */
export function stampOf(generations: string): string | null {
  const [project, inner] = [dirname(generations), generations].map((folder) =>
    statSync(folder, { bigint: true, throwIfNoEntry: false }),
  );
  if (project === undefined) return null;
  return `${project.ino}-${project.mtimeNs} ${inner?.ino}-${inner?.mtimeNs}`;
}
