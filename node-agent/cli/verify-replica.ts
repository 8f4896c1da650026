import type { CheckedCopy } from '../replicate/check-copies.ts';
import type { CommandContext } from './context.ts';
import { EXIT_PARTLY } from './exit-codes.ts';
import { ProgressLine } from './progress.ts';
import { listenForStop } from './signals.ts';

/** Reads the copies in a replica back; with `repair` what is not whole there is copied again. */
export async function verifyReplica(
  context: CommandContext,
  name: string,
  projectId: string | undefined,
  { progress, repair = false }: { progress: boolean; repair?: boolean },
): Promise<void> {
  const line = new ProgressLine(process.stderr, progress && !context.json);
  const stop = listenForStop();
  const { signal } = stop;
  await context.withStorage(
    async ({ replicas }) => {
      const total = (await replicas.list()).find((one) => one.name === name)?.copies?.copied ?? 0;
      const summary = { checked: 0, damaged: 0, repaired: 0 };
      const only = projectId === undefined ? {} : { projectId };
      for await (const copy of replicas.check(name, { ...only, repair, signal })) {
        summary.checked++;
        if (copy.reason !== null) {
          summary.damaged++;
          line.clear();
          context.show(copy, () => [describe(copy)]);
        }
        line.show(`verify ${name}`, summary.checked, Math.max(total, summary.checked));
      }
      line.clear();
      if (repair && summary.damaged > 0 && !signal.aborted) {
        const { owed, failure } = await replicas.sync(name, { signal });
        if (failure !== null) context.say(failure);
        summary.repaired = Math.max(0, summary.damaged - owed);
      }
      const { checked, damaged, repaired } = summary;
      const how = repair ? `, ${repaired} of them copied again` : '';
      context.show({ ...summary, stopped: signal.aborted }, () => [
        `${checked} checked, ${damaged} damaged${how}`,
      ]);
      if (damaged > repaired) context.exitCode = EXIT_PARTLY;
      if (signal.aborted) context.say('Stopped before the end');
    },
    { anyway: !repair },
  );
  stop.end(130);
}

const describe = ({ projectId, version, reason }: CheckedCopy) =>
  `${projectId} v${version}  ${reason}`;
