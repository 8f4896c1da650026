import { StorageError } from './contract.ts';

/**
 * Whom a failure concerns: `away` and `refused` (the key, or the plan) are the cloud's state, for
 * which everything waits; `null`: what was asked for alone.
 */
export type Outage = 'away' | 'refused' | null;

/** What the cloud says went wrong. */
export class CloudError extends StorageError {
  readonly outage: Outage;

  constructor(
    outage: Outage,
    ...[code, message, options]: ConstructorParameters<typeof StorageError>
  ) {
    super(code, message, options);
    this.outage = outage;
  }
}
