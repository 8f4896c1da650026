/** One number of a benchmark, with what it has to be. */
export type Measured = Readonly<{
  what: string;
  value: number;
  unit: string;
  target: number;
  holds: boolean;
}>;

export type Benchmark = () => Promise<Measured[]>;

/** A number that must not be more than its target. */
export function atMost(what: string, value: number, unit: string, target: number): Measured {
  const rounded = Number(value.toPrecision(3));
  return { what, value: rounded, unit, target, holds: value <= target };
}
