/** What is done with a scratch object, one step after another, by whichever key. */
import { fail, type Outcome, pass } from './check.ts';

/** What each of them is called, and whether it did what it should. */
export type Steps = readonly (readonly [string, () => Promise<boolean>])[];

/** @param end has nothing left of it, whatever became of the steps */
export async function tryAll(steps: Steps, end: () => Promise<unknown>): Promise<Outcome> {
  try {
    for (const [name, step] of steps) {
      if (await step()) continue;
      return fail(
        `storage cannot ${name}`,
        'Look at the storage logs of the project in the dashboard',
      );
    }
  } finally {
    await end().catch(() => {});
  }
  return pass(steps.map(([name]) => name).join(', '));
}
