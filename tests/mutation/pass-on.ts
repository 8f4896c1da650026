/** Lets threads and programs that a test starts make the same mistake. */
import { inject } from 'vitest';

const mistake = inject('activeMutant');
if (mistake === undefined) delete process.env.__STRYKER_ACTIVE_MUTANT__;
else process.env.__STRYKER_ACTIVE_MUTANT__ = mistake;

declare module 'vitest' {
  interface ProvidedContext {
    /** Stryker's number of the mistake that is tried. */
    activeMutant: string | undefined;
  }
}
