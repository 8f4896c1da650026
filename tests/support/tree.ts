import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';

/** Every file below a folder, by its path, with its content. */
export function readTree(folder: string): Record<string, Buffer> {
  const files: Record<string, Buffer> = {};
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isDirectory()) files[relative(folder, path)] = readFileSync(path);
  }
  return files;
}

/** Every file below a folder, by its path, as text. */
export function readTexts(folder: string): Record<string, string> {
  return Object.fromEntries(
    Object.entries(readTree(folder)).map(([path, bytes]) => [path, bytes.toString()]),
  );
}

/** The names of everything below a folder, folders among them, sorted. */
export function listTree(folder: string): string[] {
  if (statSync(folder, { throwIfNoEntry: false }) === undefined) return [];
  try {
    return readdirSync(folder, { recursive: true }).map(String).sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    // A folder of it was removed while it was listed.
    return listTree(folder);
  }
}
