/** The library door of `codebegen-storage`. */
export {
  type DownloadUrl,
  type ListPage,
  type LocalGeneration,
  openStorage,
  type ProjectSummary,
  type Receipt,
  type RefInput,
  type Storage,
  type StorageOptions,
  type StorageStatus,
  type Summary,
} from './agent.ts';
export { type Config, readConfig } from './config.ts';
export {
  type ErrorCode,
  type Manifest,
  type ManifestEntry,
  type Ref,
  type Status,
  StorageError,
} from './contract.ts';
export type { FileContent, SaveDetails, SaveFolderInput, SaveInput } from './save-input.ts';
export type { GenerationWriter } from './writer.ts';
