/** What runs in a worker thread: JSON that would stall the event loop. */
import type { Limits } from '../contract.ts';
import { lowerPriority } from '../threads/niceness.ts';
import { type Outcome, toOutcome } from '../threads/outcome.ts';
import { type ParsedSave, parseSaveBody } from './json-input.ts';

lowerPriority();

export function parse(input: { body: Uint8Array; limits: Limits }): Promise<Outcome<ParsedSave>> {
  return toOutcome(() => parseSaveBody(input.body, input.limits));
}
