/** `npm run docs`: draws the plan of the house into `architecture.md`, from the imports of the code. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { drawTable } from './draw-table.ts';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '..');

/** A room: a folder, or a file that stands for itself. */
export type Room = Readonly<{ path: string; does: string }>;

/**
 * The house, from the street down to the cellar. A room may know those of the floors below its own;
 * two rooms of one floor do not know each other.
 */
export const FLOORS: readonly (readonly Room[])[] = [
  [
    { path: 'node-agent/bin.ts', does: 'starts the command' },
    { path: 'node-agent/bundle.ts', does: 'builds agent and client as they are published' },
    { path: 'supabase/embedded', does: 'Supabase in one process, for first runs and tests' },
    { path: 'functions/bundle.ts', does: 'bundles the functions, to deploy them' },
  ],
  [
    { path: 'node-agent/cli', does: 'the commands: what is typed, what is printed' },
    { path: 'node-agent/dashboard', does: 'the page at the address of the daemon, in a browser' },
  ],
  [
    { path: 'node-agent/daemon', does: 'the HTTP API of a host' },
    { path: 'node-agent/doctor', does: 'checks an installation' },
    { path: 'node-agent/migrate', does: 'finds what the Python system left, and takes it in' },
  ],
  [{ path: 'node-agent/index.ts', does: 'the door of the library' }],
  [
    {
      path: 'node-agent/storage',
      does: 'the door: `Storage` has each call done, `open` puts it together',
    },
  ],
  [
    {
      path: 'node-agent/restore',
      does: 'everything that the cloud has is brought into the store of a new host',
    },
    {
      path: 'node-agent/replicate',
      does: 'what is verified is copied into replicas, and what is purged goes from there',
    },
  ],
  [
    {
      path: 'node-agent/upload',
      does: 'what is owed to the cloud is done, step by step; what others did there is followed',
    },
    { path: 'node-agent/webhooks', does: 'what happened is told to those who asked for it' },
  ],
  [
    { path: 'node-agent/save', does: 'what comes in becomes a generation' },
    { path: 'node-agent/read', does: 'get, list, show, archives, download URLs' },
    { path: 'node-agent/delete', does: 'a generation is deleted here' },
  ],
  [
    {
      path: 'node-agent/upkeep',
      does: 'store, catalog and cloud are kept in agreement: locks, scan, recover, verify, evict, repair',
    },
  ],
  [{ path: 'node-agent/config.ts', does: 'the settings, read from the environment' }],
  [{ path: 'node-agent/settings', does: 'files of settings, and the names of variables' }],
  [
    { path: 'node-agent/cache', does: 'copies from the cloud, that may go' },
    { path: 'node-agent/replicas', does: 'buckets elsewhere with second copies: one call each' },
  ],
  [
    {
      path: 'node-agent/catalog',
      does: 'SQLite, an index of the disk: one file a table; who runs',
    },
    {
      path: 'node-agent/cloud',
      does: 'Storage and PostgREST: one call each, and what they answer',
    },
    { path: 'node-agent/store', does: 'generations on disk: the truth' },
  ],
  [{ path: 'node-agent/archive', does: 'tar.gz: packed, read, unpacked' }],
  [
    { path: 'node-agent/disk', does: 'files are opened by descriptor, folders walked' },
    {
      path: 'node-agent/threads',
      does: 'pools of threads, and what is repeated, shared, or waited for',
    },
    { path: 'node-agent/events', does: 'what can happen, and what is told of it' },
  ],
  [
    {
      path: 'node-agent/contract.ts',
      does: 'the contract, for the agent: nothing else reaches there',
    },
  ],
  [{ path: 'functions/client', does: 'the typed client of the Edge API' }],
  [
    {
      path: 'functions/generations',
      does: 'the Edge API: `app.ts` is the URL table, each route a file',
    },
    {
      path: 'functions/hosts',
      does: 'what a host with a key of its own asks for: `app.ts` is the URL table',
    },
  ],
  [
    {
      path: 'functions/_shared',
      does: 'what a function is made of: token check, clients, archives, zips, diffs',
    },
  ],
  [
    {
      path: 'functions/_shared/contract',
      does: 'what all sides agree on: ids, paths, manifest, errors, schemas; no runtime API',
    },
  ],
];

/** What a source file imports. Paths are from the root. */
export type Imports = Readonly<{
  local: readonly string[];
  /** Without what is imported for its types alone. */
  runtime: readonly string[];
  packages: readonly string[];
}>;

/** All source files of the house, and what each imports. */
export function readImports(): Map<string, Imports> {
  const files = ['functions', 'node-agent', 'supabase/embedded'].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true })
      .map((name) => join(folder, String(name)))
      .filter((name) => /\.tsx?$/.test(name))
      .sort(),
  );
  return new Map(files.map((file) => [file, importsOf(file)]));
}

function importsOf(file: string): Imports {
  const text = readFileSync(join(ROOT, file), 'utf8');
  const local: string[] = [];
  const runtime: string[] = [];
  const packages: string[] = [];
  const pattern =
    /^(?:import|export)\s+(type\s)?[^;'"]*?from\s+'([^']+)'|import\('([^']+)'\)|^import '([^']+)'/gm;
  for (const [, onlyTypes, named, dynamic, bare] of text.matchAll(pattern)) {
    const specifier = named ?? dynamic ?? bare ?? '';
    if (!specifier.startsWith('.')) packages.push(specifier);
    else {
      const target = relative(ROOT, resolve(ROOT, dirname(file), specifier));
      local.push(target);
      if (!onlyTypes) runtime.push(target);
    }
  }
  return { local, runtime, packages };
}

/** In which room a file is, and on which floor; `null` where it is in none. */
export function roomOf(file: string): { floor: number; room: Room } | null {
  let found: { floor: number; room: Room } | null = null;
  for (const [floor, rooms] of FLOORS.entries()) {
    for (const room of rooms) {
      const isInside = file === room.path || file.startsWith(`${room.path}/`);
      if (isInside && room.path.length > (found?.room.path.length ?? 0)) found = { floor, room };
    }
  }
  return found;
}

const BEGIN = '<!-- The plan is drawn by `npm run docs`. -->';
const END = '<!-- The end of the plan. -->';

/** `architecture.md` with the plan as it is now. */
export function writePlan(architecture: string): string {
  const [before, rest] = architecture.split(BEGIN);
  const after = rest?.split(END)[1];
  if (after === undefined) throw new Error('Cannot draw the plan: its place is not marked');
  return `${before}${BEGIN}\n\n${drawPlan()}\n${END}${after}`;
}

/** One line a room: what happens there, and which others it knows. */
function drawPlan(): string {
  const knows = new Map<string, Set<string>>();
  for (const [file, { local }] of readImports()) {
    const from = roomOf(file)?.room.path ?? file;
    for (const target of local) {
      const to = roomOf(target)?.room.path ?? target;
      if (to !== from) knows.set(from, (knows.get(from) ?? new Set()).add(to));
    }
  }
  const rooms = FLOORS.flat();
  const rows = rooms.map(({ path, does }) => {
    const known = rooms.filter((room) => knows.get(path)?.has(room.path));
    return [`\`${path}\``, does, known.map((room) => shortName(room.path)).join(', ')];
  });
  return drawTable(['room', 'what happens there', 'knows'], rows);
}

function shortName(path: string): string {
  return path.replace(/^node-agent\/|\.ts$/g, '');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const file = join(ROOT, 'docs/architecture.md');
  writeFileSync(file, writePlan(readFileSync(file, 'utf8')));
}
