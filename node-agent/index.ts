/** The library door of `codebegen-storage`. */
export type { Storage } from './agent.ts';
export { type Config, readConfig } from './config.ts';
export {
  type ErrorCode,
  type Manifest,
  type ManifestEntry,
  type Ref,
  type Status,
  StorageError,
} from './contract.ts';
export type { Description } from './describe.ts';
export {
  type Enrichment,
  enrichGenerationResponse,
  getDownloadUrlForGeneration,
  getStorageInfo,
  saveGenerationWithCloud,
} from './integration.ts';
export { openStorage } from './open.ts';
export type { FileContent, SaveDetails, SaveFolderInput, SaveInput } from './save-input.ts';
export type {
  ArchiveOnDisk,
  DownloadUrl,
  ListPage,
  LocalGeneration,
  OwedUpload,
  ProjectSummary,
  Receipt,
  RefInput,
  StorageOptions,
  StorageStatus,
  Summary,
} from './types.ts';
export type { GenerationWriter } from './writer.ts';
