import type { ArchiveFile } from '../cloud/archive-file.ts';
import type { ObjectInfo } from '../cloud/object-info.ts';
import type { ListedArchive } from '../cloud/objects.ts';

/**
 * What lies in a replica. Keys are those of the bucket that it is a copy of. There are two: by the S3 protocol, and by
 * the API of Supabase; one suite of tests runs over both.
 */
export interface ReplicaObjects {
  /** The bucket that it is. */
  readonly bucket: string;

  /** For how long a URL is good at most, in seconds. */
  readonly mostSeconds: number;

  /**
   * Tries all that will be asked for, and that nobody reads what lies there without a key.
   *
   * @throws StorageError `not_found` where there is no such bucket, `forbidden` where it is public or the key may not
   *   write, `unauthenticated`, `invalid_input` where it is of another region or a clock is wrong, `unavailable`
   */
  check(): Promise<void>;

  /**
   * Stores an archive, unless it is there. What lies there is proven by a hash that this host computed.
   *
   * @returns whether it was sent
   * @throws StorageError `conflict` where other bytes lie there, `corrupt` where other bytes arrived
   */
  put(key: string, archive: ArchiveFile): Promise<boolean>;

  /** What it says of an object; `null` where there is none. */
  info(key: string): Promise<ObjectInfo | null>;

  /** The sha256 of an object, all of whose bytes are read back. @throws StorageError `not_found` */
  readBack(key: string): Promise<string>;

  /** Downloads an object into a new file. @throws StorageError `not_found` */
  download(key: string, file: string): Promise<{ sha256: string; etag: string }>;

  /** Removes an object; one that is missing is no error. */
  remove(key: string): Promise<void>;

  /** A small text, in the place of what was there. */
  putText(key: string, text: string): Promise<void>;

  /** The text of a small object; `null` where there is none. */
  readText(key: string): Promise<string | null>;

  /** The projects of which something lies there, or the one that is named. */
  listProjects(only: string | null): AsyncGenerator<string>;

  /** Lists the archives of a project, page by page. */
  listArchives(projectId: string): AsyncGenerator<ListedArchive>;

  /**
   * A URL by which whoever has it downloads the object.
   *
   * @param expiresIn seconds
   * @param filename what a browser saves it as
   */
  sign(key: string, expiresIn: number, filename: string): Promise<string>;
}
