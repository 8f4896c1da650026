/** One number of a benchmark, with what it has to be. */
export type Measured = Readonly<{
  what: string;
  value: number;
  unit: string;
  /** What half of the rounds lay in, where it was measured more than once. */
  spread: readonly [number, number] | null;
  /** `null`: it is told, and has to be nothing. */
  target: Readonly<{ is: 'at most' | 'at least'; value: number }> | null;
  holds: boolean;
}>;

export type Benchmark = () => Promise<Measured[]>;

/** A number that must not be more than its target; of several values their median. */
export function atMost(
  what: string,
  values: number | readonly number[],
  unit: string,
  target: number,
): Measured {
  return measured(what, values, unit, { is: 'at most', value: target });
}

/** A number that must not be less than its target. */
export function atLeast(
  what: string,
  values: number | readonly number[],
  unit: string,
  target: number,
): Measured {
  return measured(what, values, unit, { is: 'at least', value: target });
}

/** A number that is only told. */
export function told(what: string, values: number | readonly number[], unit: string): Measured {
  return measured(what, values, unit, null);
}

function measured(
  what: string,
  values: number | readonly number[],
  unit: string,
  target: Measured['target'],
): Measured {
  const all = typeof values === 'number' ? [values] : values;
  const value = quantile(all, 0.5);
  const holds =
    target === null || (target.is === 'at most' ? value <= target.value : value >= target.value);
  const spread: Measured['spread'] =
    all.length > 1 ? [short(quantile(all, 0.25)), short(quantile(all, 0.75))] : null;
  return { what, value: short(value), unit, spread, target, holds };
}

/** The value below which this share of all values lies. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** Three digits. */
function short(value: number): number {
  return Number(value.toPrecision(3));
}

/**
 * Runs each way once a round, one after another, A, B, A, B …: what disturbs the machine disturbs
 * all of them. The first rounds are not counted: they load and compile.
 *
 * @param ways each gives the number that it measured; else the time that it takes is what counts
 * @returns what each gave, in milliseconds where it is a time, a number a round
 */
export async function alternate<Name extends string>(
  ways: Record<Name, (round: number) => unknown>,
  options: { rounds: number; warmUp?: number },
): Promise<Record<Name, number[]>> {
  const names = Object.keys(ways) as Name[];
  const results = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<
    Name,
    number[]
  >;
  const { rounds, warmUp = Math.ceil(rounds / 10) } = options;
  for (let round = -warmUp; round < rounds; round++) {
    for (const name of names) {
      const began = performance.now();
      const given = await ways[name](round);
      const value = typeof given === 'number' ? given : performance.now() - began;
      if (round >= 0) results[name].push(value);
    }
  }
  return results;
}

/** Of each round, how many times `a` is `b`. */
export function ratios(a: readonly number[], b: readonly number[]): number[] {
  return a.map((value, round) => value / b[round]!);
}
