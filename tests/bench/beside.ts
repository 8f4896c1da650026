/**
 * A tar posted to the daemon until it is answered, beside what others do to keep the same tree: git with
 * every object synced, and restic and borg where they are installed.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ROOT } from '../support/run.ts';
import { readPackages, readSources, type Tree } from './corpus.ts';
import { alternate, atMost, type Measured, ratios } from './measure.ts';
import { writeTree } from './save.ts';

const ROUNDS = 15;

export async function beside(): Promise<Measured[]> {
  const folder = mkdtempSync(join(tmpdir(), 'codebegen-bench-'));
  const daemon = spawn(process.execPath, [`${ROOT}/node-agent/bin.ts`, 'start'], {
    env: {
      ...process.env,
      ...{ FILE_STORAGE_PATH: join(folder, 'store'), CACHE_PATH: join(folder, 'cache') },
      ...{ USE_CLOUD_STORAGE: 'false', AGENT_PORT: '0', LOG_LEVEL: 'silent' },
    },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  try {
    const [line] = (await once(createInterface(daemon.stdout), 'line')) as [string];
    const url = line.replace('Listening on ', '');
    const results: Measured[] = [];
    for (const tree of [readSources(117), readPackages(['hono'])]) {
      results.push(...(await besideOthers(tree, url, folder)));
    }
    return results;
  } finally {
    await end(daemon);
    rmSync(folder, { recursive: true, force: true });
  }
}

async function besideOthers(tree: Tree, url: string, folder: string): Promise<Measured[]> {
  const files = Object.keys(tree).length;
  let n = 0;
  /** A tree of its own for each round: what was read or written before is in no cache of theirs. */
  const fresh = () => {
    const path = join(folder, `${files}-${n++}`);
    writeTree(path, tree);
    return path;
  };
  const source = fresh();
  const tar = execFileSync('tar', ['cf', '-', '-C', source, '.'], { maxBuffer: 2 ** 30 });
  const others = Object.entries(OTHERS).filter(([name]) => isInstalled(name));
  const ways = {
    daemon: async () => {
      const answer = await fetch(`${url}/v1/generations?project_id=p${files}`, {
        method: 'POST',
        headers: { 'content-type': 'application/x-tar' },
        body: tar,
      });
      if (answer.status !== 201) throw new Error(await answer.text());
    },
    ...Object.fromEntries(others.map(([name, keep]) => [name, () => keep(source, fresh)])),
  } as Record<string, () => unknown>;
  const times = await alternate(ways, { rounds: ROUNDS });
  return others.map(([name]) =>
    atMost(
      `a tar of ${files} files posted to the daemon, times ${name}`,
      ratios(times.daemon!, times[name]!),
      '×',
      1,
    ),
  );
}

type Keep = (source: string, fresh: () => string) => number;

/** Each keeps one tree, into a repository that it made before, and gives the time that this took. */
const OTHERS: Record<string, Keep> = {
  git: (_, fresh) => {
    const tree = fresh();
    const git = (...args: string[]) =>
      execFileSync('git', ['-c', 'core.fsync=all', '-c', 'core.fsyncMethod=fsync', ...args], {
        cwd: tree,
        stdio: 'ignore',
        env: { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_SYSTEM: '/dev/null' },
      });
    git('init', '-q');
    return timed(() => {
      git('add', '-A', '-f');
      git('-c', 'user.name=b', '-c', 'user.email=b@b', 'commit', '-q', '-m', 'b');
    });
  },
  restic: (source, fresh) => {
    const repository = `${fresh()}-restic`;
    const env = { ...process.env, RESTIC_PASSWORD: 'b', RESTIC_REPOSITORY: repository };
    execFileSync('restic', ['init', '-q'], { env });
    return timed(() => execFileSync('restic', ['backup', '-q', source], { env }));
  },
  borg: (source, fresh) => {
    const repository = `${fresh()}-borg`;
    mkdirSync(repository);
    execFileSync('borg', ['init', '-e', 'none', repository]);
    return timed(() => execFileSync('borg', ['create', `${repository}::b`, source]));
  },
};

function timed(work: () => unknown): number {
  const began = performance.now();
  work();
  return performance.now() - began;
}

function isInstalled(program: string): boolean {
  return (
    spawnSync(program, ['--version']).status === 0 || spawnSync(program, ['version']).status === 0
  );
}

async function end(daemon: ChildProcess): Promise<void> {
  daemon.kill('SIGTERM');
  if (daemon.exitCode === null && daemon.signalCode === null) await once(daemon, 'exit');
}
