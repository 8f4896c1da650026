import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** A file of this package's own folder, whether it runs from source or compiled. */
export function packageFile(name: string): string {
  const [fromSource, compiled] = ['../../', '../../../'].map((up) =>
    fileURLToPath(new URL(`${up}${name}`, import.meta.url)),
  );
  return existsSync(fromSource!) ? fromSource! : compiled!;
}
