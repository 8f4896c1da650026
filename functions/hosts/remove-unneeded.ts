import type { ObjectPlace } from '../_shared/read-object.ts';
import { removeObjects } from '../_shared/remove-objects.ts';
import type { HostVariables } from './context.ts';

type Removing = Readonly<{ var: Pick<HostVariables, 'service' | 'requestId'> }>;

/** What of an answer says which objects are to be removed. */
type Answer = { unneeded?: ObjectPlace[] };

/**
 * Removes the objects that answers say nothing needs any more: a host may remove none. What cannot be removed now is
 * removed with the housekeeping.
 *
 * @returns the answers, with nothing left to be removed
 */
export async function removeUnneeded<T extends Answer>(
  c: Removing,
  answers: readonly T[],
): Promise<T[]> {
  const unneeded = answers.flatMap((answer) => answer.unneeded ?? []);
  if (unneeded.length > 0) {
    await removeObjects(c.var.service, unneeded, 'remove what is not needed').catch((error) =>
      console.error(c.var.requestId, error),
    );
  }
  return answers.map((answer) =>
    answer.unneeded === undefined ? answer : { ...answer, unneeded: [] },
  );
}
