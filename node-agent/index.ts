/** The library door of `codebegen-storage`. */

export { type Config, readConfig } from './config.ts';
export {
  type ErrorCode,
  type Manifest,
  type ManifestEntry,
  type Ref,
  type Status,
  StorageError,
} from './contract.ts';
export type { ArchiveOnDisk } from './read/archive.ts';
export type { DownloadUrl } from './read/download-url.ts';
export type { RefInput } from './read/find.ts';
export type { LocalGeneration } from './read/get.ts';
export type { ListPage, ProjectSummary } from './read/list.ts';
export type { Summary } from './read/summary.ts';
export type { Receipt } from './save/receipt.ts';
export type { FileContent, SaveDetails, SaveFolderInput, SaveInput } from './save/request.ts';
export type { GenerationWriter } from './save/writer.ts';
export type { Description } from './storage/describe.ts';
export {
  type Enrichment,
  enrichGenerationResponse,
  getDownloadUrlForGeneration,
  getStorageInfo,
  saveGenerationWithCloud,
} from './storage/integration.ts';
export { openStorage } from './storage/open.ts';
export type { StorageOptions } from './storage/options.ts';
export type { StorageStatus } from './storage/status.ts';
export type { Storage } from './storage/storage.ts';
export type { OwedUpload } from './upload/owed.ts';
