/** The contract, for the agent: the one place from which it reaches into `functions/`. */

export {
  type FileEntry,
  FileEntrySchema,
  FileParamSchema,
  ProblemSchema,
  ProjectParamSchema,
  VersionParamSchema,
} from '../functions/_shared/contract/api.ts';
export {
  type ArchiveName,
  ArchiveNames,
  entryNameOf,
  type Folder,
} from '../functions/_shared/contract/archive-names.ts';
export { diffFiles, type FilesDiff } from '../functions/_shared/contract/diff.ts';
export { digestText, isDigest } from '../functions/_shared/contract/digest.ts';
export {
  ERROR_CODES,
  type ErrorCode,
  type Problem,
  StorageError,
  toProblem,
} from '../functions/_shared/contract/errors.ts';
export {
  formatHostKey,
  HOST_KEY_BYTES,
  isHostKey,
  parseHostName,
} from '../functions/_shared/contract/host-key.ts';
export {
  ChangedActiveSchema,
  ChangedSchema,
  DownloadsSchema,
  FoundSchema,
  HostCheckSchema,
  RecordedSchema,
  ReservedSchema,
  ScratchSchema,
  type UploadTokenSchema,
  UploadTokensSchema,
} from '../functions/_shared/contract/hosts.ts';
export {
  foldId,
  isId,
  isVersion,
  MAX_VERSION,
  parseId,
  parseVersion,
} from '../functions/_shared/contract/ids.ts';
export {
  DEFAULT_LIMITS,
  HOST_LIMITS,
  type Limits,
  PAGE,
  URL_EXPIRY,
} from '../functions/_shared/contract/limits.ts';
export {
  type CompleteManifest,
  DEFAULT_MODE,
  isComplete,
  type Manifest,
  type ManifestEntry,
  parseManifest,
} from '../functions/_shared/contract/manifest.ts';
export {
  ARCHIVE_TYPE,
  DEFAULT_BUCKET,
  objectKey,
  parseObjectKey,
} from '../functions/_shared/contract/object-key.ts';
export {
  describeApi,
  type Operation,
  pageOf,
  type Route,
} from '../functions/_shared/contract/openapi.ts';
export {
  ActivationOutcomeSchema,
  ActiveGenerationSchema,
  CheckInSchema,
  CloudChangeSchema,
  CloudGenerationSchema,
  CloudProjectSchema,
  CloudRowSchema,
  DamageOutcomeSchema,
  DeletionOutcomeSchema,
  FailureOutcomeSchema,
  OwnerOutcomeSchema,
  PurgeOutcomeSchema,
  RecordOutcomeSchema,
  RemovalOutcomeSchema,
  ReserveOutcomeSchema,
  UndeletionOutcomeSchema,
  UnneededSchema,
} from '../functions/_shared/contract/outcomes.ts';
export {
  checkPaths,
  comparePaths,
  isReserved,
  PathSet,
  pathProblem,
} from '../functions/_shared/contract/paths.ts';
export {
  folderName,
  formatRef,
  notFound,
  parseFolderName,
  type Ref,
} from '../functions/_shared/contract/ref.ts';
export { isInCloud, type Status } from '../functions/_shared/contract/status.ts';
export {
  readTarEntries,
  type TarEntry,
  type TarHeader,
  type TarType,
} from '../functions/_shared/contract/tar.ts';
export { validate } from '../functions/_shared/contract/validate.ts';
