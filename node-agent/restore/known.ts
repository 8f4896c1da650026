import type { Ref } from '../contract.ts';
import type { Restorable } from '../upkeep/install.ts';

/** What there is to restore, one after another: a project before its generations. */
export type Found =
  | (Readonly<{ kind: 'project' }> & KnownProject)
  | (Readonly<{ kind: 'generation' }> & Restorable)
  | (Readonly<{ kind: 'deletion' }> & KnownDeletion)
  /** That cannot be had, and why. */
  | Readonly<{ kind: 'absent'; ref: Ref; reason: string }>;

/** A deletion that is to be known. */
export type KnownDeletion = Readonly<{
  ref: Ref;
  digest: string | null;
  deletedAt: string;
  /** `null` where the database does not know of it. */
  epoch: number | null;
}>;

/** What is known of a project beside its generations. */
export type KnownProject = Readonly<{
  projectId: string;
  ownerId: string | null;
  /** The highest version that it ever had. */
  latestVersion: number;
  /** What is active in it; `null` where nothing is, or the database is asked. */
  activation: Activation | null;
}>;

/** Which generation is active, and when that was said, in milliseconds. */
export type Activation = Readonly<{ ref: Ref; at: number }>;
