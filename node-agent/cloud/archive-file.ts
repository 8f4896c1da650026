/** An archive on disk that is to be stored. */
export type ArchiveFile = Readonly<{ path: string; bytes: number; sha256: string; md5: string }>;
