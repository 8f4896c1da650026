import { StorageError } from '../contract.ts';

/**
 * Whom a failure concerns: `away` and `refused` (the key, or the plan) are the cloud's state, for
 * which everything waits; `null`: what was asked for alone.
 */
export type Outage = 'away' | 'refused' | null;

/** Which part of the cloud: each may be away while the other is there. */
export type Service = 'storage' | 'database';

/** What the cloud says went wrong. */
export class CloudError extends StorageError {
  readonly service: Service;
  readonly outage: Outage;

  constructor(
    service: Service,
    outage: Outage,
    ...[code, message, options]: ConstructorParameters<typeof StorageError>
  ) {
    super(code, message, options);
    this.service = service;
    this.outage = outage;
  }
}

/** Whether it concerns whoever asks, whatever is asked. */
export function isOutage(error: unknown): error is CloudError {
  return error instanceof CloudError && error.outage !== null;
}
