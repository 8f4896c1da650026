import { type ErrorCode, StorageError } from '../contract.ts';

/** How one thing is. */
export type Outcome = Readonly<{
  status: 'pass' | 'warn' | 'fail';
  /** What was seen. */
  why: string;
  /** What to do about it; `null` where it is well. */
  whatToDo: string | null;
}>;

export type Check = Outcome & Readonly<{ name: string; ms: number }>;

export const pass = (why: string): Outcome => ({ status: 'pass', why, whatToDo: null });
export const warn = (why: string, whatToDo: string): Outcome => ({ status: 'warn', why, whatToDo });
export const fail = (why: string, whatToDo: string): Outcome => ({ status: 'fail', why, whatToDo });

/** Looks at one thing. What is thrown is why it fails. */
export async function check(name: string, look: () => Promise<Outcome>): Promise<Check> {
  const began = performance.now();
  const outcome = await look().catch((error: unknown) =>
    fail(messageOf(error), 'Try again; if it stays, it is a fault of this program'),
  );
  return { name, ...outcome, ms: Math.round(performance.now() - began) };
}

/** What helps where a file or a catalog cannot be written, whatever else is wrong. */
const REMEDIES: Readonly<Partial<Record<ErrorCode, string>>> = {
  disk_full: 'Make room: cleanup --trees, or whatever else lies there',
  read_only: 'Mount it to be written; dmesg says why it is not',
  unavailable: 'Try again; where the disk fails, dmesg says more',
};

/** @param otherwise what helps where it is for want of rights */
export function remedyFor(error: unknown, otherwise: string): string {
  return (error instanceof StorageError ? REMEDIES[error.code] : undefined) ?? otherwise;
}

/** A foreign error is named, not quoted: it may hold anything. */
export function messageOf(error: unknown): string {
  if (error instanceof StorageError) return error.message;
  const { name, code } = error as NodeJS.ErrnoException;
  return `It ended with ${code ?? name ?? 'an unknown error'}`;
}
