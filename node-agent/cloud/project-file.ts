import * as v from 'valibot';
import { isId, isVersion, StorageError } from '../contract.ts';

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

/** What is known of a project by its file in a bucket. Times are ISO 8601. */
export type ProjectFile = v.InferOutput<typeof FileSchema>;

/** Files that are to be written, as the database says. */
export const ClaimedFilesSchema = v.array(
  v.object({
    project_id: id,
    revision: v.number(),
    /** Where its archives are; `null` where there are none. */
    bucket: v.nullable(v.string()),
    file: v.record(v.string(), v.unknown()),
  }),
);

/** Small texts in a bucket. */
export type Texts = Readonly<{
  readText(key: string): Promise<string | null>;
  putText(key: string, text: string): Promise<void>;
  remove(key: string): Promise<void>;
}>;

/** So many are written at once: all of it within the three minutes for which nobody else is given them. */
export const FILES_AT_ONCE = 8;

export const projectFileKey = (projectId: string) => `${projectId}/project.json`;
/** The file as it was when a restore began that is not done yet. */
const restoringKey = (projectId: string) => `${projectId}/restoring.json`;

export function formatProjectFile(file: Readonly<Record<string, unknown>>): string {
  return `${JSON.stringify(file, null, 2)}\n`;
}

/** The files of projects in a bucket, for who restores from there. */
export class ProjectFileReader {
  readonly #texts: Texts;

  constructor(texts: Texts) {
    this.#texts = texts;
  }

  /**
   * What the file of a project says.
   *
   * @returns `null` where there is none
   * @throws StorageError `corrupt` where it is none of ours, or one of a later version; `unavailable`
   */
  async read(projectId: string): Promise<ProjectFile | null> {
    return (await this.#read(restoringKey(projectId))) ?? this.#read(projectFileKey(projectId));
  }

  /**
   * The same, for a restore from the bucket. It is kept as it is until {@link end}: the database knows less until that
   * is done, and whoever writes the file meanwhile goes by the database.
   */
  async begin(projectId: string): Promise<ProjectFile | null> {
    const begun = await this.#read(restoringKey(projectId));
    if (begun !== null) return begun;
    const file = await this.#read(projectFileKey(projectId));
    if (file !== null) {
      await this.#texts.putText(restoringKey(projectId), formatProjectFile(file));
    }
    return file;
  }

  /** All that the file says is in the database. */
  async end(projectId: string): Promise<void> {
    await this.#texts.remove(restoringKey(projectId));
  }

  async #read(key: string): Promise<ProjectFile | null> {
    const text = await this.#texts.readText(key);
    if (text === null) return null;
    try {
      const file = v.parse(FileSchema, JSON.parse(text));
      if (key.startsWith(`${file.project_id}/`)) return file;
    } catch {
      // Told below: what is in it is nobody's to print.
    }
    const state = 'it is no project file of this version';
    throw new StorageError('corrupt', `Cannot read "${key}": ${state}`);
  }
}
