import type { Command } from 'commander';
import { ERROR_CODES } from '../contract.ts';
import { LOGGED_KINDS } from '../events/events.ts';
import type { WebhookStatus } from '../webhooks/webhooks.ts';
import { type CommandContext, formatTable } from './context.ts';

export function addWebhooks(program: Command, context: CommandContext): void {
  const webhooks = program
    .command('webhooks')
    .description('have a URL told of what happens here, or show who is')
    .addHelpText(
      'after',
      `
What is sent is signed as Standard Webhooks say: the receiver checks it with the secret, by the package
"standardwebhooks" of its language. An event may come more than once, each time with the same webhook-id.
Events: ${LOGGED_KINDS.join(', ')}

Examples:
  $ codebegen-storage webhooks add https://app.example.com/hooks/storage --events generation.verified,generation.failed
  $ codebegen-storage webhooks test wh_0123456789ab
  $ codebegen-storage webhooks`,
    )
    .action(() => list(context));
  webhooks
    .command('list')
    .description('show them, what is owed to them, and why')
    .action(() => list(context));
  webhooks
    .command('add')
    .description('add one; its secret is shown this once')
    .argument('<url>', 'of https')
    .option('--events <kinds>', 'kinds of events, with commas between', 'all')
    .option('--allow-private', 'it may lead into this network, and be of http')
    .action((url: string, options: AddOptions) => add(context, url, options));
  webhooks
    .command('test')
    .description('send it a test, now and once')
    .argument('<id>', 'as "list" shows it')
    .action((id: string) => test(context, id));
  webhooks
    .command('retry')
    .description('try again at once what waits and what was parked')
    .argument('[id]', 'one of them; else all')
    .action((id?: string) => retry(context, id ?? null));
  webhooks
    .command('remove')
    .description('tell it nothing more; what is owed to it is dropped')
    .argument('<id>', 'as "list" shows it')
    .action((id: string) => remove(context, id));
}

type AddOptions = { events: string; allowPrivate?: boolean };

async function add(context: CommandContext, url: string, options: AddOptions): Promise<void> {
  const { events, allowPrivate = false } = options;
  await context.withStorage(
    async (storage) => {
      const kinds = events === 'all' ? {} : { kinds: events.split(',').map((kind) => kind.trim()) };
      const {
        id,
        secret,
        kinds: told,
      } = await storage.webhooks.add({ url, allowPrivate, ...kinds });
      context.show({ id, url, kinds: told, secret }, () => [id, secret]);
      context.say(
        `The second line is its secret: give it to the receiver, it is not shown again. To try it: codebegen-storage webhooks test ${id}`,
      );
    },
    { makes: true },
  );
}

async function list(context: CommandContext): Promise<void> {
  await context.withStorage(
    async (storage) => {
      const items = storage.webhooks.list();
      context.show({ items: items.map((item) => ({ ...item, url: shown(item.url) })) }, () =>
        formatTable(
          ['ID', 'URL', 'EVENTS', 'OWED', 'SINCE', 'PARKED', 'FAILURE'],
          items.map((item) => [
            item.id,
            shown(item.url),
            item.kinds?.join(',') ?? 'all',
            String(item.owed),
            item.since ?? '-',
            String(item.parked),
            failureOf(item),
          ]),
        ),
      );
      for (const path of storage.webhooks.unreadable()) {
        context.say(`"${path}" is no webhook: remove it, and add it anew`);
      }
    },
    { anyway: true },
  );
}

function failureOf({ failure, disabled, dropped }: WebhookStatus): string {
  const lost = dropped > 0 ? `${dropped} were dropped: too much was owed` : null;
  const why = disabled === null ? failure : `${disabled}; nothing is sent`;
  return [why, lost].filter((text) => text !== null).join('; ') || '-';
}

/** A token may be in the query. */
function shown(url: string): string {
  const { origin, pathname, search } = new URL(url);
  return `${origin}${pathname}${search === '' ? '' : '?…'}`;
}

async function test(context: CommandContext, id: string): Promise<void> {
  await context.withStorage(async (storage) => {
    const { ms, failure } = await storage.webhooks.test(id);
    context.show({ id, accepted: failure === null, ms, failure }, () => [
      failure === null
        ? `It took the test within ${ms} ms`
        : `It did not take the test: ${failure}`,
    ]);
    if (failure !== null) context.exitCode = ERROR_CODES.unavailable.exit;
  });
}

/** How long what is tried again is waited for, in milliseconds. */
const RETRY_MS = 20_000;

async function retry(context: CommandContext, id: string | null): Promise<void> {
  await context.withStorage(
    async (storage) => {
      const retried = await storage.webhooks.retry(id);
      await storage.webhooks.drain(RETRY_MS);
      const left = storage.webhooks.list().filter((item) => id === null || item.id === id);
      const owed = left.reduce((sum, item) => sum + item.owed, 0);
      context.show({ retried, owed }, () => [`${retried} were parked; ${owed} are owed now`]);
      const failed = left.find((item) => item.owed + item.parked > 0 && item.failure !== null);
      if (failed === undefined) return;
      context.say(`${failed.id}: ${failureOf(failed)}`);
      context.exitCode = ERROR_CODES.unavailable.exit;
    },
    { changes: true },
  );
}

async function remove(context: CommandContext, id: string): Promise<void> {
  await context.withStorage(async (storage) => {
    await storage.webhooks.remove(id);
    context.show({ id, removed: true }, () => [`${id} is told nothing more`]);
  });
}
