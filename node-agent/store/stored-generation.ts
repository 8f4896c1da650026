import type { Manifest, Ref } from '../contract.ts';

/** A generation that can be read where it lies. Paths are absolute. */
export type StoredGeneration = Readonly<{ path: string; sourcePath: string; manifest: Manifest }>;

/** What is on disk under a ref: a generation, or the mark that it was deleted or moved. */
export type OnDisk = Readonly<{ ref: Ref; deletedAt: string | null; movedTo: number | null }>;
