import type { Generation } from '../_shared/contract/api.ts';

/** A generation as the database gives it to its owner. */
export type GenerationRow = Generation & { bucket: string; object_key: string };
