/** What one generation may hold. Sizes in bytes of UTF-8 or content. */
export type Limits = Readonly<{
  /** Files in one generation. */
  files: number;
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
  fileBytes: 1024 ** 3,
  totalBytes: 2 * 1024 ** 3,
  partBytes: 255,
  pathBytes: 1024,
};

/** Rows in one page of a list. */
export const PAGE = { default: 50, max: 200 } as const;

/** Seconds that a signed URL is good for: 30 days at most, an hour where nothing is said. */
export const URL_EXPIRY = { default: 3600, max: 30 * 24 * 3600 } as const;
