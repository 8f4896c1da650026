import * as v from 'valibot';
import { isId, isVersion, StorageError } from '../contract.ts';
import { Bucket, isMissingBucket } from './bucket.ts';
import type { Connection } from './connection.ts';
import { Rpc } from './rpc.ts';
import { fromPlatform } from './translate.ts';

const id = v.pipe(
  v.string(),
  v.check((text) => isId(text)),
);
const version = v.pipe(
  v.number(),
  v.check((number) => isVersion(number)),
);
const time = v.pipe(v.string(), v.isoTimestamp());

/**
 * `{project}/project.json` in the bucket: what the archives beside it do not say, for a restore without the
 * database. What is not there is left out.
 */
const FileSchema = v.object({
  schema: v.literal(1),
  project_id: id,
  owner_id: v.optional(v.pipe(v.string(), v.uuid())),
  name: v.optional(v.string()),
  deleted_at: v.optional(v.string()),
  latest_version: v.optional(version),
  active: v.optional(v.object({ version, generation_id: id, activated_at: v.optional(time) })),
  /** What they hold now, of those that held something else before. */
  replaced: v.optional(
    v.array(v.object({ version, generation_id: id, digest: v.optional(v.string()) })),
  ),
  deleted: v.optional(
    v.array(
      v.object({
        version,
        generation_id: id,
        digest: v.optional(v.string()),
        deleted_at: time,
        purge_at: v.optional(time),
      }),
    ),
  ),
});

const ClaimedSchema = v.array(
  v.object({
    project_id: id,
    revision: v.number(),
    /** Where its archives are; `null` where there are none. */
    bucket: v.nullable(v.string()),
    file: v.record(v.string(), v.unknown()),
  }),
);
const RecordedSchema = v.object({ outcome: v.literal('recorded') });

/** What is known of a project by its file in the bucket. Times are ISO 8601. */
export type ProjectFile = v.InferOutput<typeof FileSchema>;

/** So many are written at once: all of it within the three minutes for which nobody else is given them. */
const AT_ONCE = 8;

const keyOf = (projectId: string) => `${projectId}/project.json`;
/** The file as it was when a restore began that is not done yet. */
const restoringKeyOf = (projectId: string) => `${projectId}/restoring.json`;

/** The files of projects in the bucket. */
export class ProjectFilesBySecretKey {
  readonly #connection: Connection;
  readonly #rpc: Rpc;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.#rpc = new Rpc(connection);
  }

  get #bucket() {
    const { client, settings } = this.#connection;
    return client.storage.from(settings.bucket);
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
        { p_limit: AT_ONCE },
        ClaimedSchema,
        'ask which projects have changed',
      );
      if (!Array.isArray(claimed) || claimed.length === 0) return written;
      const puts = await Promise.allSettled(
        claimed.map(({ project_id, bucket, file }) => this.#put(keyOf(project_id), file, bucket)),
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

  /** @param given the bucket; `null`: ours. One that is another's, and gone, needs none */
  async #put(
    key: string,
    file: Record<string, unknown>,
    given: string | null = null,
  ): Promise<void> {
    const { client, settings } = this.#connection;
    const bucket = given ?? settings.bucket;
    const text = `${JSON.stringify(file, null, 2)}\n`;
    const put = async () => {
      const options = { contentType: 'application/json', upsert: true };
      const { error } = await client.storage.from(bucket).upload(key, text, options);
      return error === null ? null : fromPlatform(error, `write "${key}"`, 'storage');
    };
    let failure = await put();
    if (failure !== null && isMissingBucket(failure)) {
      if (bucket !== settings.bucket) return;
      await new Bucket(this.#connection).ensure();
      failure = await put();
    }
    if (failure !== null) throw failure;
  }

  /**
   * What the file of a project says.
   *
   * @returns `null` where there is none
   * @throws StorageError `corrupt` where it is none of ours, or one of a later version; `unavailable`
   */
  async read(projectId: string): Promise<ProjectFile | null> {
    return (await this.#read(restoringKeyOf(projectId))) ?? this.#read(keyOf(projectId));
  }

  /**
   * The same, for a restore from the bucket. It is kept as it is until {@link end}: the database knows less until that
   * is done, and whoever writes the file meanwhile goes by the database.
   */
  async begin(projectId: string): Promise<ProjectFile | null> {
    const begun = await this.#read(restoringKeyOf(projectId));
    if (begun !== null) return begun;
    const file = await this.#read(keyOf(projectId));
    if (file !== null) await this.#put(restoringKeyOf(projectId), file);
    return file;
  }

  /** All that the file says is in the database. */
  async end(projectId: string): Promise<void> {
    const { error } = await this.#bucket.remove([restoringKeyOf(projectId)]);
    if (error !== null) throw fromPlatform(error, `finish restoring "${projectId}"`, 'storage');
  }

  async #read(key: string): Promise<ProjectFile | null> {
    const { data, error } = await this.#bucket.download(key);
    if (error !== null) {
      const known = fromPlatform(error, `read "${key}"`, 'storage');
      if (known.code === 'not_found') return null;
      throw known;
    }
    try {
      const file = v.parse(FileSchema, JSON.parse(await data.text()));
      if (key.startsWith(`${file.project_id}/`)) return file;
    } catch {
      // Told below: what is in it is nobody's to print.
    }
    const state = 'it is no project file of this version';
    throw new StorageError('corrupt', `Cannot read "${key}": ${state}`);
  }
}
