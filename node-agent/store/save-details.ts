import { formatRef, type Limits, type Ref } from '../contract.ts';
import { fromFileSystem } from '../disk/file-errors.ts';
import type { ListedSource, Source } from './source.ts';
import type { Staging } from './staging.ts';

/** What is kept with the files. */
export type SaveDetails = Readonly<{
  createdAt: string;
  metadata: Record<string, unknown>;
  ownerId: string | null;
  /** Whether it may take the place of other content, here or in the cloud. @default false */
  isReplacement?: boolean;
  /** Files that were made of its source, where it has any. */
  artifacts?: ListedSource | null;
}>;

/** What the work of a save is given. */
export function stageInputOf(ref: Ref, source: Source, details: SaveDetails, limits: Limits) {
  const { artifacts = null } = details;
  return { ref, ...details, artifacts, source, limits };
}

/** Runs work on a staging folder, of which nothing is left where it fails. */
export async function withStaging<T>(
  staging: Staging,
  ref: Ref,
  source: Source,
  work: (folder: string) => Promise<T>,
): Promise<T> {
  const folder = source.kind === 'draft' ? source.folder : staging.path();
  try {
    return await work(folder);
  } catch (error) {
    await staging.drop(folder);
    throw fromFileSystem(error, `save ${formatRef(ref)}`);
  }
}
