import type { Command } from 'commander';
import { ERROR_CODES, PAGE, type Ref } from '../contract.ts';
import type { RefInput } from '../read/find.ts';
import type { Storage } from '../storage/storage.ts';
import type { OwedUpload } from '../upload/owed.ts';
import { parseCountArgument, parseIdArgument, parseVersionArgument } from './arguments.ts';
import { type CommandContext, formatTable } from './context.ts';
import { EXIT_PARTLY } from './exit-codes.ts';

type UploadsOptions = { limit: number; cursor?: number };

export function addUploads(program: Command, context: CommandContext): void {
  program
    .command('uploads')
    .description('list what is owed to the cloud, oldest first, or have it done')
    .argument('[action]', '"retry", "resend" or "renumber"')
    .argument('[project]', 'of "resend" and "renumber"', parseIdArgument)
    .argument('[version]', 'of "renumber"', parseVersionArgument)
    .option('--limit <n>', 'rows', parseCountArgument, PAGE.default)
    .option('--cursor <n>', 'next_cursor of the page before', parseCountArgument)
    .addHelpText(
      'after',
      `
Actions:
  retry                       try again what was parked, and what waits, at once
  resend [project]            ask the cloud for everything that lies here, or was deleted: what it lost is
                              sent again. For a bucket, a database or a whole project that was lost
  renumber <project> <version>
                              save what was parked under the next version that is free, its own being
                              taken in the cloud

Examples:
  $ codebegen-storage uploads
  $ codebegen-storage uploads retry
  $ codebegen-storage uploads resend shop
  $ codebegen-storage uploads renumber shop 5`,
    )
    .action(
      async (
        action: string | undefined,
        projectId: string | undefined,
        version: number | undefined,
        options: UploadsOptions,
        command: Command,
      ) => {
        const refuse = (problem: string) => command.error(`error: ${problem}`, { exitCode: 2 });
        switch (action) {
          case undefined:
            return list(context, options);
          case 'retry':
            if (projectId !== undefined) refuse('"retry" takes no project: it tries all again');
            return retry(context);
          case 'resend':
            if (version !== undefined) refuse('"resend" takes no version, but a project');
            return resend(context, projectId ?? null);
          case 'renumber':
            if (projectId === undefined || version === undefined) {
              return refuse('"renumber" needs a project and a version');
            }
            return renumber(context, { projectId, version });
          default:
            refuse(`unknown action '${action}': "retry", "resend" and "renumber" are known`);
        }
      },
    );
}

async function list(context: CommandContext, { limit, cursor }: UploadsOptions): Promise<void> {
  await context.withStorage(
    async (storage) => {
      const page = await storage.uploads({ limit, ...(cursor === undefined ? {} : { cursor }) });
      context.show(page, () =>
        formatTable(
          ['PROJECT', 'VERSION', 'STEP', 'SINCE', 'ATTEMPTS', 'NEXT', 'FAILURE'],
          page.items.map((item) => [
            item.projectId,
            `v${item.version}`,
            item.step,
            item.since,
            String(item.attempts),
            item.dueAt ?? 'parked',
            item.failure ?? '-',
          ]),
        ),
      );
      if (page.nextCursor !== null && !context.json) {
        context.say(`There are more: --cursor ${page.nextCursor}`);
      }
    },
    { anyway: true },
  );
}

/** How long what is tried again is waited for, in milliseconds. */
const RETRY_MS = 30_000;
/** Jobs whose outcome is told. */
const MAX_OWED = 10_000;

async function retry(context: CommandContext): Promise<void> {
  /** What got another version, by the generation that it is. */
  const moved = new Map<string, number>();
  await context.withStorage(
    async (storage) => {
      const before = await owedNow(storage);
      const retried = await storage.retryParked();
      await storage.drain(RETRY_MS);
      const after = new Map((await owedNow(storage)).map((job) => [nameOf(job), job]));
      const items = before.map((job) => {
        const left = after.get(nameOf(job));
        const { projectId, version, generationId } = job;
        const outcome = left === undefined ? 'done' : left.parked ? 'parked' : 'waiting';
        const movedTo = moved.get(nameOf(job)) ?? null;
        const failure = left?.failure ?? null;
        return { projectId, version, generationId, outcome, movedTo, failure };
      });
      context.show({ retried, items }, () => describeRetry(items));
      const { away } = (await storage.status()).cloud;
      if (items.some(({ outcome }) => outcome === 'parked')) context.exitCode = EXIT_PARTLY;
      else if (items.some(({ outcome, failure }) => outcome === 'waiting' && failure !== null)) {
        const code = away?.cause === 'refused' ? 'unauthenticated' : 'unavailable';
        context.exitCode = ERROR_CODES[code].exit;
      }
    },
    {
      changes: true,
      onEvent: (event) => {
        if (event.kind !== 'generation.renumbered') return;
        const { projectId, from: version, generationId } = event;
        moved.set(nameOf({ projectId, version, generationId }), event.version);
      },
    },
  );
}

const nameOf = ({ projectId, version, generationId }: Ref) =>
  `${projectId}/${version}/${generationId}`;

/** All that is owed, but for the last where that is very much. */
async function owedNow(storage: Storage): Promise<OwedUpload[]> {
  const { items } = await storage.uploads({ limit: MAX_OWED });
  return items;
}

type Retried = Ref & { outcome: string; movedTo: number | null; failure: string | null };

function describeRetry(items: Retried[]): string[] {
  if (items.length === 0) return ['Nothing is owed to the cloud'];
  return formatTable(
    ['PROJECT', 'VERSION', 'OUTCOME', 'FAILURE'],
    items.map(({ projectId, version, outcome, movedTo, failure }) => [
      projectId,
      `v${version}`,
      movedTo === null ? outcome : `${outcome}, as v${movedTo}`,
      failure ?? '-',
    ]),
  );
}

async function resend(context: CommandContext, projectId: string | null): Promise<void> {
  await context.withStorage(
    async (storage) => {
      const owed = await storage.resend(projectId);
      context.show({ owed }, () => [`${owed} are asked for again`]);
      context.say(
        'What the cloud has is found there; what it has not is sent: codebegen-storage uploads',
      );
    },
    { changes: true },
  );
}

async function renumber(context: CommandContext, ref: RefInput): Promise<void> {
  await context.withStorage(
    async (storage) => {
      // What goes on by itself, as after its owner was set, shows first whether it still cannot.
      if ((await storage.summary(ref)).status === 'pending') {
        // It may have failed just now, and wait.
        await storage.retryParked(ref.projectId);
        await storage.drain(RETRY_MS);
      }
      const { version } = await storage.renumber(ref);
      context.show({ ...ref, movedTo: version }, () => [
        `${ref.projectId} v${ref.version} is v${version} now`,
      ]);
    },
    { changes: true },
  );
}
