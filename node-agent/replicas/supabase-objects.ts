import type { ArchiveFile } from '../cloud/archive-file.ts';
import type { Connection } from '../cloud/connection.ts';
import type { ObjectInfo } from '../cloud/object-info.ts';
import { type ListedArchive, ObjectsBySecretKey } from '../cloud/objects.ts';
import { readText, writeText } from '../cloud/texts.ts';
import { checkAnswer, fromPlatform } from '../cloud/translate.ts';
import { StorageError, URL_EXPIRY } from '../contract.ts';
import { probe, publicBucket, putProven } from './prove.ts';
import type { ReplicaObjects } from './replica-objects.ts';

/** Nothing is kept of where an upload is: a copy is begun anew. */
const BEGUN_ANEW = { url: null, save: async () => {} };

/** Archives in a bucket of another Supabase project. */
export class SupabaseObjects implements ReplicaObjects {
  readonly bucket: string;
  readonly mostSeconds = URL_EXPIRY.max;
  readonly #connection: Connection;
  readonly #objects: ObjectsBySecretKey;
  readonly #who: string;

  /** @param name of the replica */
  constructor(connection: Connection, name: string) {
    this.bucket = connection.settings.bucket;
    this.#connection = connection;
    this.#objects = new ObjectsBySecretKey(connection);
    this.#who = `replica "${name}"`;
  }

  async check(): Promise<void> {
    const doing = `use the bucket "${this.bucket}"`;
    const { data, error } = await this.#connection.client.storage.getBucket(this.bucket);
    if (error !== null) {
      const known = fromPlatform(error, doing, this.#who);
      if (known.code !== 'not_found') throw known;
      const state = `${this.#who} has no such bucket, or the key may not see it: make it, private`;
      throw new StorageError('not_found', `Cannot ${doing}: ${state}`, { cause: error });
    }
    checkAnswer(typeof data.public === 'boolean', doing, this.#who);
    if (data.public) throw publicBucket(doing, this.#who);
    await probe(this, doing, this.#who);
  }

  put(key: string, archive: ArchiveFile): Promise<boolean> {
    const send = async () => {
      await this.#objects.put(key, archive, BEGUN_ANEW, { isNew: true });
      return this.info(key);
    };
    return putProven(this, key, archive, { who: this.#who, send });
  }

  info(key: string): Promise<ObjectInfo | null> {
    return this.#objects.info(key);
  }

  readBack(key: string): Promise<string> {
    return this.#objects.readBack(key);
  }

  download(key: string, file: string): Promise<{ sha256: string; etag: string }> {
    return this.#objects.download(key, file);
  }

  remove(key: string): Promise<void> {
    return this.#objects.remove([{ bucket: this.bucket, key }]);
  }

  putText(key: string, text: string): Promise<void> {
    return writeText(this.#connection, { bucket: this.bucket, key }, text, this.#who);
  }

  readText(key: string): Promise<string | null> {
    return readText(this.#connection, key, this.#who);
  }

  listProjects(only: string | null): AsyncGenerator<string> {
    return this.#objects.listProjects(only);
  }

  listArchives(projectId: string): AsyncGenerator<ListedArchive> {
    return this.#objects.listArchives(projectId);
  }

  sign(key: string, expiresIn: number, filename: string): Promise<string> {
    return this.#objects.sign(key, expiresIn, filename);
  }
}
