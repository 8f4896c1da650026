import type { Unpacked, UnpackInput } from '../archive/unpack.ts';
import type { Limits } from '../contract.ts';
import type { CommitInput, Committed } from './commit.ts';
import type { ArchiveFacts } from './hash.ts';
import type { Installed, InstallInput } from './install-archive.ts';
import type { LayOutInput } from './lay-out.ts';
import type { Layout } from './layout.ts';
import type { LeftOut } from './left-out.ts';
import type { Described } from './legacy/flat.ts';
import type { Digested, DigestInput, Staged, StageInput } from './stage.ts';
import type { Staging } from './staging.ts';

/** What the store's jobs are made of. */
export type StoreParts = Readonly<{
  layout: Layout;
  limits: Limits;
  staging: Staging;
  work: StageWork;
}>;

/** The same, where new paths alone are asked for. */
export type ViewParts = Omit<StoreParts, 'staging'> &
  Readonly<{ staging: Pick<Staging, 'path' | 'pathToPlace'> }>;

/** The heavy work of a save, done elsewhere than on the event loop. */
export type StageWork = {
  stage(input: StageInput): Promise<Staged>;
  commit(input: CommitInput): Promise<Committed>;
  install(input: InstallInput): Promise<Installed>;
  digest(input: DigestInput): Promise<Digested>;
  sync(folder: string): Promise<void>;
  layOut(input: LayOutInput): Promise<void>;
  repack(input: { folder: string; scratch: string }): Promise<ArchiveFacts>;
  settle(input: { folder: string; scratch: string }): Promise<ArchiveFacts | null>;
  convert(input: ConvertInput): Promise<LeftOut>;
  unpack(input: UnpackInput): Promise<Unpacked>;
  check(input: { folder: string; digest: string }, signal?: AbortSignal): Promise<string[]>;
  describe(input: { root: string; projectId: string; limits: Limits }): Promise<Described>;
};

/** What the Python system left, in a folder relative to the store's root. */
export type ConvertInput = Readonly<{
  root: string;
  folder: string;
  scratch: string;
  limits: Limits;
}>;
