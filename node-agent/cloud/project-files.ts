import * as v from 'valibot';
import { Bucket, isMissingBucket } from './bucket.ts';
import type { Connection } from './connection.ts';
import {
  ClaimedFilesSchema,
  FILES_AT_ONCE,
  formatProjectFile,
  ProjectFileReader,
  projectFileKey,
} from './project-file.ts';
import { Rpc } from './rpc.ts';
import { readText, writeText } from './texts.ts';
import { fromPlatform } from './translate.ts';

const RecordedSchema = v.object({ outcome: v.literal('recorded') });

/** The files of projects in the bucket. */
export class ProjectFilesBySecretKey extends ProjectFileReader {
  readonly #connection: Connection;
  readonly #rpc: Rpc;

  constructor(connection: Connection) {
    super({
      readText: (key) => readText(connection, key, 'storage'),
      putText: (key, text) => putText(connection, key, text),
      remove: (key) => remove(connection, key),
    });
    this.#connection = connection;
    this.#rpc = new Rpc(connection);
  }

  /**
   * Writes the files of those projects of which something changed, and that nobody else writes just now.
   *
   * @returns how many it wrote
   * @throws StorageError `unavailable`
   */
  async write(): Promise<number> {
    for (let written = 0; ; ) {
      const claimed = await this.#rpc.call(
        'storage_claim_project_files',
        { p_limit: FILES_AT_ONCE },
        ClaimedFilesSchema,
        'ask which projects have changed',
      );
      if (!Array.isArray(claimed) || claimed.length === 0) return written;
      const puts = await Promise.allSettled(
        claimed.map(({ project_id: id, bucket, file }) =>
          putText(this.#connection, projectFileKey(id), formatProjectFile(file), bucket),
        ),
      );
      const items = claimed
        .filter((_, i) => puts[i]?.status === 'fulfilled')
        .map(({ project_id, revision }) => ({ project_id, revision }));
      await this.#rpc.call(
        'storage_record_project_files',
        { p_items: items },
        RecordedSchema,
        'note which projects are written down',
      );
      for (const put of puts) if (put.status === 'rejected') throw put.reason;
      written += claimed.length;
    }
  }

  /** Has the file of a project, or of all, be written anew: the bucket may have lost it. */
  async oweAgain(projectId: string | null): Promise<void> {
    const doing = 'have projects written down again';
    const args = { p_project_id: projectId };
    await this.#rpc.call('storage_owe_project_files', args, RecordedSchema, doing);
  }
}

/** @param given the bucket; `null`: ours. One that is another's, and gone, needs none */
async function putText(
  connection: Connection,
  key: string,
  text: string,
  given: string | null = null,
): Promise<void> {
  const { settings } = connection;
  const bucket = given ?? settings.bucket;
  const put = () => writeText(connection, { bucket, key }, text, 'storage');
  try {
    await put();
  } catch (error) {
    if (!isMissingBucket(error)) throw error;
    if (bucket !== settings.bucket) return;
    await new Bucket(connection).ensure();
    await put();
  }
}

async function remove({ client, settings }: Connection, key: string): Promise<void> {
  const { error } = await client.storage.from(settings.bucket).remove([key]);
  if (error !== null) throw fromPlatform(error, `remove "${key}"`, 'storage');
}
