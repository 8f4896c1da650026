import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Ran, ROOT, run } from './run.ts';
import { tempFolder } from './temp.ts';

/** Runs a program that imports the Python client, with its standard library alone. */
export async function runPython(
  program: string,
  args: readonly string[],
  env: Record<string, string>,
): Promise<Ran> {
  const file = join(await tempFolder(), 'program.py');
  writeFileSync(file, program);
  const begin = [
    'import sys',
    `sys.path.insert(0, ${JSON.stringify(join(ROOT, 'docs/examples'))})`,
    'sys.dont_write_bytecode = True',
    `exec(compile(open(${JSON.stringify(file)}).read(), 'program.py', 'exec'))`,
  ];
  return run('python3', ['-I', '-c', begin.join('; '), ...args], { env });
}
