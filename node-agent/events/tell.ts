import { StorageError } from '../contract.ts';
import type { OnEvent, StorageEvent, Tell } from './events.ts';

/**
 * Makes what tells a listener of events: each gets its time, and its owner where it is about a
 * generation. A listener that throws is not ours to die of.
 *
 * @param ownerOf the owner of a project
 */
export function createTell(
  listener: OnEvent | undefined,
  { now, ownerOf }: { now: () => number; ownerOf: (projectId: string) => string | null },
): Tell {
  if (listener === undefined) return () => {};
  /** What happened is told also where the catalog cannot be asked. */
  const ownerOrNull = (projectId: string) => {
    try {
      return ownerOf(projectId);
    } catch {
      return null;
    }
  };
  return (told) => {
    try {
      const owner = 'projectId' in told ? { ownerId: ownerOrNull(told.projectId) } : {};
      listener({ ...told, ...owner, at: new Date(now()).toISOString() } as StorageEvent);
    } catch {
      // Nobody to tell.
    }
  };
}

/** Makes what handles errors of the background: each is told as a `problem`, and given to a listener. */
export function createOnProblem(
  tell: Tell,
  listener: ((error: unknown) => void) | undefined,
): (error: unknown) => void {
  return (error) => {
    if (error instanceof StorageError) {
      tell({ kind: 'problem', code: error.code, reason: error.message });
    } else {
      const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
      tell({ kind: 'problem', code: 'internal', reason });
    }
    try {
      listener?.(error);
    } catch {
      // Nobody to tell.
    }
  };
}
