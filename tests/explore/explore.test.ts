/**
 * All orders in which two hosts and a web user can do what they do with one generation, up to a
 * depth: a deviation is a step at which another goes on than would, or at which a request is lost,
 * held up, or ends its host. `EXPLORE_RUNS` makes it more, `EXPLORE_SEED` others; a failure prints
 * what `EXPLORE="scenario: deviations"` runs again.
 */
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { makeRandom } from '../support/random.ts';
import { Cloud } from './cloud.ts';
import { explore } from './run.ts';
import { SCENARIOS, type Scenario } from './scenarios.ts';
import { type Deviation, parseDeviations, printDeviations } from './schedule.ts';

/** Of each scenario. */
const RUNS = Number(process.env.EXPLORE_RUNS ?? 8);
const SEED = Number(process.env.EXPLORE_SEED ?? 1);
const [ONLY, SCHEDULE] = process.env.EXPLORE?.split(': ') ?? [];

let cloud: Cloud;
beforeAll(async () => {
  cloud = await Cloud.start();
  // What an agent would do after a while by itself would come between two steps, or not, as fast as
  // this machine is: an order would be another each time.
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] });
});
afterAll(async () => {
  vi.useRealTimers();
  await cloud?.close();
});

const chosen: Scenario[] = SCENARIOS.filter(({ name }) => ONLY === undefined || name === ONLY);

test.each<Scenario>(chosen)(
  '$name: whoever comes first, nothing is lost in silence',
  async (scenario) => {
    if (SCHEDULE !== undefined) {
      await runOne(scenario, parseDeviations(SCHEDULE));
      return;
    }
    for (const found of scenario.found ?? []) await runOne(scenario, parseDeviations(found));
    const random = makeRandom(SEED);
    // By depth; within one in an order that the seed gives.
    let level: Deviation[][] = [[]];
    let left = RUNS;
    while (level.length > 0 && left > 0) {
      const next: Deviation[][] = [];
      for (const deviations of shuffle(level, random).slice(0, left)) {
        left--;
        const widths = await runOne(scenario, deviations);
        const from = (deviations.at(-1)?.at ?? -1) + 1;
        for (let at = from; at < widths.length; at++) {
          for (let take = 1; take < widths[at]!; take++) next.push([...deviations, { at, take }]);
        }
      }
      level = next;
    }
  },
  7_200_000,
);

async function runOne(scenario: Scenario, deviations: Deviation[]): Promise<readonly number[]> {
  const { problems, trace, widths } = await explore(cloud, scenario, deviations);
  const again = `EXPLORE="${scenario.name}: ${printDeviations(deviations)}"`;
  expect(problems, `${again}\n${trace.join('\n')}`).toEqual([]);
  return widths;
}

function shuffle<T>(items: readonly T[], random: () => number): T[] {
  const shuffled = [...items];
  for (let i = shuffled.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [shuffled[i], shuffled[j]] = [shuffled[j]!, shuffled[i]!];
  }
  return shuffled;
}
