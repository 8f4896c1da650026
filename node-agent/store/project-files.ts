import { fromFileSystem } from '../disk/file-errors.ts';
import { makeFolder, writeFileDurably } from './durable.ts';
import type { Layout } from './layout.ts';
import { readText } from './read-text.ts';
import type { Staging } from './staging.ts';

/** What is known of a project. */
export type ProjectFacts = Readonly<{
  /** Who was named at a save; `null` where nobody was. */
  ownerId: string | null;
  /** When it was decided whose it is, whatever earlier saves had named, in ISO 8601; `null`: it was not. */
  ownerDecidedAt: string | null;
  /** The highest version that the cloud is known to have; 0 where none is known. */
  cloudVersion: number;
}>;

type ProjectFile = {
  id?: string;
  owner_id?: string;
  owner_decided_at?: string;
  cloud_version?: number;
};

/** What is kept beside the generations of a project. */
export class ProjectFiles {
  readonly #layout: Layout;
  readonly #staging: Staging;

  constructor(layout: Layout, staging: Staging) {
    this.#layout = layout;
    this.#staging = staging;
  }

  /** What is kept of a project, so that it is known even where the catalog is lost. */
  read(projectId: string): ProjectFacts {
    const text = readText(this.#layout, this.#layout.projectFile(projectId)) ?? '{}';
    try {
      const { owner_id, owner_decided_at, cloud_version } = JSON.parse(text) as ProjectFile;
      return {
        ownerId: owner_id ?? null,
        ownerDecidedAt: owner_decided_at ?? null,
        cloudVersion: cloud_version ?? 0,
      };
    } catch {
      // Cut short by a power loss: as if nothing had been kept.
      return { ownerId: null, ownerDecidedAt: null, cloudVersion: 0 };
    }
  }

  /** Keeps what is given of a project, beside what is kept of it. */
  async write(projectId: string, given: Partial<ProjectFacts>): Promise<void> {
    const { ownerId, ownerDecidedAt, cloudVersion } = { ...this.read(projectId), ...given };
    const file: ProjectFile = {
      id: projectId,
      ...(ownerId === null ? {} : { owner_id: ownerId }),
      ...(ownerDecidedAt === null ? {} : { owner_decided_at: ownerDecidedAt }),
      ...(cloudVersion === 0 ? {} : { cloud_version: cloudVersion }),
    };
    try {
      await makeFolder(this.#layout.generations(projectId), this.#layout.project(projectId));
      const temporary = this.#staging.pathToPlace();
      const text = `${JSON.stringify(file, null, 2)}\n`;
      await writeFileDurably(this.#layout.projectFile(projectId), text, temporary);
    } catch (error) {
      throw fromFileSystem(error, `note what is known of "${projectId}"`);
    }
  }
}
