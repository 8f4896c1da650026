/**
 * `npm start`: the whole path on real input. Starts the embedded stack and the agent, saves a
 * folder as a generation, and then acts as the web app of two users.
 */
import { basename, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { onStop } from '../../../node-agent/cli/signals.ts';
import { StorageError, toProblem } from '../../../node-agent/contract.ts';
import { startHouse } from './house.ts';
import { runPath } from './path.ts';
import { printGuide, printReport } from './report.ts';

const PROJECT_ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const USAGE = 'npm start -- [--once] [--json] [--data DIR] [--port N] [DIR]';

const { values, positionals } = readArguments();
const folder = resolve(positionals[0] ?? PROJECT_ROOT);
const say = values.json ? () => {} : (line: string) => console.log(line);
const data = resolve(values.data);
let reported = false;
let stopping = false;

const starting = startHouse({ data, port: Number(values.port), say });
onStop(async () => {
  stopping = true;
  await (await starting).close();
  return reported ? 0 : 130;
});

try {
  const house = await starting;
  try {
    const report = await runPath(house, {
      folder,
      projectId: projectIdOf(folder),
      // The project's own data and build are no part of its source.
      exclude: folder === resolve(PROJECT_ROOT) ? ['storage', 'dist'] : [],
      say,
    });
    if (values.json) console.log(JSON.stringify(report));
    else printReport(report);
    process.exitCode = report.ok ? 0 : 1;
    reported = true;
    if (values.once) await house.close();
    else if (!values.json) {
      const page = `${await house.serve()}/#/projects/${report.project_id}/${report.version}`;
      printGuide(house, { storePath: join(data, 'projects'), page });
    }
  } catch (error) {
    await house.close();
    throw error;
  }
} catch (error) {
  // What breaks because it is being stopped is no failure.
  if (!stopping) fail(error);
}

function fail(error: unknown): void {
  const problem = toProblem(error);
  if (values.json) console.log(JSON.stringify({ ok: false, error: problem }));
  console.error(error instanceof StorageError ? problem.detail : error);
  process.exitCode = 1;
}

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        once: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        data: { type: 'string', default: join(PROJECT_ROOT, 'storage') },
        port: { type: 'string', default: '54321' },
      },
    });
  } catch (error) {
    console.error(`${(error as Error).message}\nUsage: ${USAGE}`);
    process.exit(2);
  }
}

/** The name of the folder, as far as an id can say it. */
function projectIdOf(path: string): string {
  const id = basename(path)
    .replaceAll(/[^A-Za-z0-9_-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '')
    .slice(0, 128);
  return id === '' ? 'first-run' : id;
}
