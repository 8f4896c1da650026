import { type Command, Option } from 'commander';
import type { CloudHost } from '../cloud/hosts.ts';
import { parseHostName, parseId, StorageError } from '../contract.ts';
import type { Storage } from '../storage/storage.ts';
import { asArgument, parseTimeArgument } from './arguments.ts';
import { type CommandContext, formatTable } from './context.ts';

type AddOptions = {
  read: 'own' | 'all';
  delete: 'none' | 'own';
  projects?: string[];
  expires?: number;
};
type AssignOptions = { projects?: string[]; from?: string; here?: boolean };
type RotateOptions = { overlap: number; expires?: number };

const HOUR_MS = 3_600_000;
/** So many are assigned in one transaction. */
const ASSIGNED_AT_ONCE = 500;

export function addHosts(program: Command, context: CommandContext): void {
  const hosts = program
    .command('hosts')
    .description('give hosts keys of their own, or show who has one: where the secret key is')
    .addHelpText(
      'after',
      `
A key is printed once, alone on stdout; the database has its hash.

Examples:
  $ codebegen-storage hosts add generator-1 --expires 90d > host.key
  $ codebegen-storage hosts rotate generator-1 --overlap 2h > host.key
  $ codebegen-storage hosts assign generator-2 --from generator-1
  $ codebegen-storage hosts`,
    )
    .action(() => list(context));
  hosts
    .command('list')
    .description('show them, what they may do, and when their keys end')
    .action(() => list(context));
  hosts
    .command('add')
    .description('add one')
    .argument('<name>', 'what it is called', parseNameArgument)
    .addOption(
      new Option('--read <scope>', 'what it may read').choices(['own', 'all']).default('own'),
    )
    .addOption(
      new Option('--delete <scope>', 'what it may delete').choices(['none', 'own']).default('none'),
    )
    .option('--projects <ids>', 'what it may write to, with commas between', parseIdsArgument)
    .option('--expires <time>', 'when its key ends, as in 90d; else never', parseTimeArgument)
    .action((name: string, options: AddOptions) => add(context, name, options));
  hosts
    .command('rotate')
    .description('give one another key; the earlier one goes on for a while')
    .argument('<name>', 'as "list" shows it', parseNameArgument)
    .option('--overlap <time>', 'for how long, as in 0h or 2d', parseTimeArgument, 24 * HOUR_MS)
    .option('--expires <time>', 'when the new one ends, as in 90d; else never', parseTimeArgument)
    .action((name: string, options: RotateOptions) => rotate(context, name, options));
  hosts
    .command('assign')
    .description(
      'let one write to projects that it did not create, and give it what in them the secret key saved, or a host that is revoked',
    )
    .argument('<name>', 'as "list" shows it', parseNameArgument)
    .option('--projects <ids>', 'which, with commas between', parseIdsArgument)
    .option('--from <name>', 'all of a host that is revoked', parseNameArgument)
    .option('--here', 'all that lie in the store of this host')
    .action((name: string, options: AssignOptions) => assign(context, name, options));
  hosts
    .command('revoke')
    .description('have the keys of one open nothing any more; what it saved stays')
    .argument('<name>', 'as "list" shows it', parseNameArgument)
    .action((name: string) => revoke(context, name));
}

const parseNameArgument = (text: string) => asArgument(() => parseHostName(text));

function parseIdsArgument(text: string): string[] {
  return asArgument(() => text.split(',').map((id) => parseId(id.trim(), 'project id')));
}

/** When something ends that lasts so long from now on, in milliseconds. */
function endOf(lasts: number | undefined): string | null {
  return lasts === undefined ? null : new Date(Date.now() + lasts).toISOString();
}

/** The cloud is asked, and no store is needed. */
async function withHosts(
  context: CommandContext,
  work: (hosts: Storage['hosts'], storage: Storage) => Promise<void>,
): Promise<void> {
  if (context.readConfig().cloud === null) {
    const state = 'the cloud is off. Set USE_CLOUD_STORAGE, SUPABASE_URL and SUPABASE_SERVICE_KEY';
    throw new StorageError('unavailable', `Cannot look after hosts: ${state}`);
  }
  await context.withStorage((storage) => work(storage.hosts, storage), {
    anyway: true,
    fromCloud: true,
  });
}

async function add(context: CommandContext, name: string, options: AddOptions): Promise<void> {
  const { read, projects = [], expires } = options;
  const expiresAt = endOf(expires);
  await withHosts(context, async (hosts) => {
    const key = await hosts.add(name, { read, delete: options.delete, projects, expiresAt });
    const added = { name, key, read, delete: options.delete, projects, expiresAt };
    context.show(added, () => [key]);
    context.say('This is its key, and not shown again.');
  });
}

async function rotate(
  context: CommandContext,
  name: string,
  { overlap, expires }: RotateOptions,
): Promise<void> {
  const expiresAt = endOf(expires);
  await withHosts(context, async (hosts) => {
    const { key, earlierEndsAt } = await hosts.rotate(name, Math.ceil(overlap / 1000), expiresAt);
    context.show({ name, key, expiresAt, earlierEndsAt }, () => [key]);
    const earlier = earlierEndsAt === null ? '' : ` The earlier one ends at ${earlierEndsAt}.`;
    context.say(`This is its key, and not shown again.${earlier}`);
  });
}

async function assign(
  context: CommandContext,
  name: string,
  { projects = [], from, here = false }: AssignOptions,
): Promise<void> {
  if (projects.length === 0 && from === undefined && !here) {
    const state = 'say which: --projects, --from or --here';
    throw new StorageError(
      'invalid_input',
      `Cannot assign projects to the host "${name}": ${state}`,
    );
  }
  await withHosts(context, async (hosts, storage) => {
    const local = here ? await projectsOf(storage) : [];
    const named = [...new Set([...projects, ...local])];
    let assigned = 0;
    for (let begin = 0; begin < named.length; begin += ASSIGNED_AT_ONCE) {
      assigned += await hosts.assign(name, named.slice(begin, begin + ASSIGNED_AT_ONCE));
    }
    if (from !== undefined) assigned += await hosts.assignFrom(name, from);
    context.show({ name, projects: named, from: from ?? null, assigned }, () => [
      `${name}: ${assigned} assigned`,
    ]);
  });
}

/** Also those that were taken out of the store, and are in the cloud alone. */
async function projectsOf(storage: Storage): Promise<string[]> {
  const ids: string[] = [];
  for (let cursor: string | undefined; ; ) {
    const page = await storage.listProjects(cursor === undefined ? {} : { cursor });
    ids.push(...page.items.map(({ projectId }) => projectId));
    if (page.nextCursor === null) return ids;
    cursor = page.nextCursor;
  }
}

async function revoke(context: CommandContext, name: string): Promise<void> {
  await withHosts(context, async (hosts) => {
    const revoked = await hosts.revoke(name);
    context.show({ name, revoked }, () => [`${name}: ${revoked ? 'revoked' : 'was revoked'}`]);
  });
}

async function list(context: CommandContext): Promise<void> {
  await withHosts(context, async (hosts) => {
    const items = await hosts.list();
    context.show({ items }, () =>
      formatTable(
        ['HOST', 'READ', 'DELETE', 'PROJECTS', 'SEEN', 'KEY'],
        items.map((host) => [
          host.name,
          host.read,
          host.delete,
          String(host.projects),
          host.last_seen_at ?? '-',
          keyOf(host),
        ]),
      ),
    );
  });
}

function keyOf({ revoked_at, keys: [newest, ...earlier] }: CloudHost): string {
  if (revoked_at !== null) return `revoked ${revoked_at}`;
  if (newest === undefined) return 'none';
  const ends = newest.expires_at === null ? 'does not end' : `ends ${newest.expires_at}`;
  const other = earlier.map(({ expires_at }) => `, an earlier one ends ${expires_at}`);
  return `${ends}${other.join('')}`;
}
