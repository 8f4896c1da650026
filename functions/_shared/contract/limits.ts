/** What one generation may hold. Sizes in bytes of UTF-8 or content. */
export type Limits = Readonly<{
  /** Files in one generation. */
  files: number;
  /** Files and folders in one generation, ... and what is passed over beside them. */
  entries: number;
  /** Content of one file. */
  fileBytes: number;
  /** Content of all files together. */
  totalBytes: number;
  /** One part of a path: what ext4, APFS and tar readers take. */
  partBytes: number;
  /** A whole path. */
  pathBytes: number;
}>;

/** The limits that hold where nothing else is said. */
export const DEFAULT_LIMITS: Limits = {
  files: 20_000,
  entries: 40_000,
  fileBytes: 1024 ** 3,
  totalBytes: 2 * 1024 ** 3,
  partBytes: 255,
  pathBytes: 1024,
};

/** Rows in one page of a list. */
export const PAGE = { default: 50, max: 200 } as const;

/** Files in one page of a tree: most generations fit in one. */
export const FILES_PAGE = { default: 1000, max: 5000 } as const;

const MIB = 1024 ** 2;

/** What one request to the Edge API may cost. The platform gives it 256 MB and 2 s of CPU. */
export const EDGE_LIMITS = {
  /** Bytes of a request's body: every one is a small JSON object. */
  bodyBytes: 64 * 1024,
  /** Bytes of one file that is shown. */
  fileBytes: 8 * MIB,
  /** Bytes of an archive that is read whole, having no block index, ... */
  archiveBytes: 16 * MIB,
  /** ... and of what is in it, ... */
  contentBytes: 32 * MIB,
  /** ... and files in it. */
  archiveFiles: 5000,
  /** Bytes of content that is put into a zip: fflate makes 24 MB of them a second, ... */
  zipBytes: 16 * MIB,
  /** ... and 10 000 small files: bytes / zipBytes + files / zipFiles is 1 at most. */
  zipFiles: 5000,
  /** Files with a unified diff in one answer, ... */
  diffFiles: 200,
  /** ... and bytes of both sides of them. */
  diffBytes: 2 * MIB,
  /** ... and lines of them. */
  diffLines: 100_000,
} as const;

/** What one request of a host may hold. */
export const HOST_LIMITS = {
  /** Bytes of its body. */
  bodyBytes: 4 * MIB,
  /** Generations in it. */
  batch: 32,
  /** Rows in one page of its lists. */
  page: 1000,
  /** Bytes of an object that the function reads back, to prove it. */
  provenBytes: 64 * MIB,
} as const;

/** Links of one user that can be followed at a time. */
export const MAX_LINKS = 1000;
/** Seconds that the URL is good for to which a link leads: it has ended for everybody after that. */
export const FOLLOWED_LINK_SECONDS = 30;

/** Seconds that a signed URL is good for: 30 days at most, an hour where nothing is said. */
export const URL_EXPIRY = { default: 3600, max: 30 * 24 * 3600 } as const;
