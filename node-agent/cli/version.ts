import { readFileSync } from 'node:fs';
import { packageFile } from '../disk/package-file.ts';

/** The version of the package, from its `package.json`. */
export function readVersion(): string {
  return (JSON.parse(readFileSync(packageFile('package.json'), 'utf8')) as { version: string })
    .version;
}
