import { StorageError } from '../contract.ts';
import type { Connection } from './connection.ts';
import { checkAnswer, fromPlatform, realStatus } from './translate.ts';

/** The bucket that is written into: private, and made where it is missing. */
export class Bucket {
  readonly #connection: Connection;
  #checked: { limit: number | null } | null = null;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  get name(): string {
    return this.#connection.settings.bucket;
  }

  /** Once in a run: everybody would read what is put into a public bucket. */
  async check(key: string, bytes: number): Promise<void> {
    if (this.#checked === null) {
      const { data, error } = await this.#connection.client.storage.getBucket(this.name);
      if (error !== null) {
        const known = fromPlatform(error, `look up the bucket "${this.name}"`, 'storage');
        if (known.code !== 'not_found') throw known;
        // Made before anything is sent: an early refusal may wedge the connection.
        await this.ensure();
        return;
      }
      checkAnswer(typeof data.public === 'boolean', `look up the bucket "${this.name}"`);
      if (data.public) {
        throw new StorageError(
          'forbidden',
          `Cannot upload into the bucket "${this.name}": it is public. Make it private, then: codebegen-storage uploads retry`,
        );
      }
      this.#checked = { limit: data.file_size_limit ?? null };
    }
    const { limit } = this.#checked;
    if (limit === null || bytes <= limit) return;
    // It may have been raised since.
    this.#checked = null;
    throw this.tooLarge(key, bytes, null, limit);
  }

  /**
   * Whoever may not see a bucket is told that nothing is in it.
   *
   * @throws StorageError `not_found` where it is not to be seen
   */
  async checkVisible(): Promise<void> {
    const doing = `look into the bucket "${this.name}"`;
    const { data, error } = await this.#connection.client.storage.getBucket(this.name);
    if (error === null) {
      checkAnswer(typeof data.public === 'boolean', doing);
      return;
    }
    const known = fromPlatform(error, doing, 'storage');
    if (known.code !== 'not_found') throw known;
    const state =
      'it is not there, or the key may not see it. Look at SUPABASE_BUCKET and SUPABASE_SERVICE_KEY: codebegen-storage doctor';
    throw new StorageError('not_found', `Cannot ${doing}: ${state}`, { cause: known });
  }

  /** For an archive that is over the limit of the bucket, or of the project. */
  tooLarge(key: string, bytes: number, cause: unknown, known?: number): StorageError {
    const limit = known ?? this.#checked?.limit ?? null;
    this.#checked = null;
    return tooLarge(key, bytes, { bucket: this.name, limit, cause });
  }

  /**
   * Makes the bucket, private, where it is missing.
   *
   * @returns whether it was made now
   * @throws StorageError `unavailable`, `forbidden`, `unauthenticated`
   */
  async ensure(): Promise<boolean> {
    const bucket = this.name;
    const { error } = await this.#connection.client.storage.createBucket(bucket, { public: false });
    if (error !== null && realStatus(error) !== 409) {
      throw fromPlatform(error, `make the bucket "${bucket}"`, 'storage');
    }
    return error === null;
  }
}

/** For an archive that is over a limit: that of the bucket, or, where it is `null`, of the project. */
export function tooLarge(
  key: string,
  bytes: number,
  { bucket, limit, cause }: Readonly<{ bucket: string; limit: number | null; cause: unknown }>,
): StorageError {
  const state =
    limit === null
      ? 'are over what the project takes for one object (50 MB on the free plan)'
      : `are over the limit of the bucket "${bucket}", ${limit} bytes`;
  return new StorageError(
    'too_large',
    `Cannot upload "${key}": its ${bytes} bytes ${state}. Raise the limit in the dashboard, then: codebegen-storage uploads retry`,
    { cause },
  );
}

/** Whether Storage says that the bucket is not there. */
export function isMissingBucket(error: unknown): boolean {
  const cause = error instanceof StorageError ? error.cause : error;
  const { message, code } = (cause ?? {}) as { message?: string; code?: string };
  return code === 'NoSuchBucket' || /bucket not found/i.test(message ?? '');
}
