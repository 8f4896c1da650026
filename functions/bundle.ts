/**
 * `npm run bundle [-- FOLDER]`: writes each function as one file, for the editor of Supabase's
 * dashboard, which has no import map. Packages stay imports, with the versions of `deno.json`.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'rolldown';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const { imports } = JSON.parse(readFileSync(here('deno.json'), 'utf8')) as {
  imports: Record<string, string>;
};
const folder = process.argv[2] ?? here('../dist');

for (const name of ['generations', 'hosts']) {
  const file = join(folder, `${name}.js`);
  await build({
    input: here(`${name}/index.ts`),
    external: Object.keys(imports),
    output: { file, paths: imports, comments: false },
  });
  console.log(file);
}
