/**
 * Works on a storage without end: saves, replaces and deletes, several at once. Says on stdout
 * what it begins and what it was told is done, a line each.
 */
import { writeSync } from 'node:fs';
import { openStorage, readConfig } from '../../node-agent/index.ts';
import { makeRandom } from '../support/random.ts';

/** How many generations are worked on at once. */
const AT_ONCE = 6;

export type LoadLine = Readonly<{
  /** Unique to the step. */
  id: string;
  event: 'begin' | 'done';
  op: 'save' | 'replace' | 'delete';
  projectId: string;
  version: number;
  generationId: string;
  /** What it is to hold; of a deletion nothing. */
  seed: number | null;
}>;

/** The files of a generation that was made with a seed. */
export function filesOf(seed: number): Record<string, string> {
  const random = makeRandom(seed);
  return Object.fromEntries(
    Array.from({ length: 2 + Math.floor(random() * 12) }, (_, i) => [
      `d${Math.floor(random() * 3)}/f${i}.txt`,
      `${seed} `.repeat(Math.floor(random() * 400)),
    ]),
  );
}

if (import.meta.main) {
  const [projectId, round] = [process.argv[2]!, Number(process.argv[3])];
  const random = makeRandom(round);
  const storage = await openStorage(readConfig(process.env));
  let step = 0;

  const say = (line: LoadLine) => writeSync(1, `${JSON.stringify(line)}\n`);
  const work = async (lane: number) => {
    for (let n = 0; ; n++) {
      // No two lanes and no two rounds have a version in common.
      const version = round * 100_000 + lane * 10_000 + n + 1;
      const ref = { projectId, version, generationId: `g-${version}` };
      const seed = Math.floor(random() * 1e9);
      await act('save', ref, seed, () => storage.save({ ...ref, files: filesOf(seed) }));
      const next = random();
      if (next < 0.2) {
        const other = seed + 1;
        const files = filesOf(other);
        await act('replace', ref, other, () => storage.save({ ...ref, files, replace: true }));
      }
      if (next > 0.85 || next < 0.05) await act('delete', ref, null, () => storage.delete(ref));
    }
  };
  const act = async (
    op: LoadLine['op'],
    ref: { projectId: string; version: number; generationId: string },
    seed: number | null,
    run: () => Promise<unknown>,
  ) => {
    const id = `${round}-${step++}`;
    say({ id, event: 'begin', op, ...ref, seed });
    await run();
    say({ id, event: 'done', op, ...ref, seed });
  };
  await Promise.all(Array.from({ length: AT_ONCE }, (_, lane) => work(lane)));
}
