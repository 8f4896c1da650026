import type { CloudListing } from '../cloud/cloud.ts';
import type { CloudGeneration, CloudProject } from '../cloud/listing.ts';
import { formatRef, isId, isInCloud, isVersion, type Ref, StorageError } from '../contract.ts';
import type { Found } from './known.ts';

/** What the database knows, project by project. */
export async function* foundInDatabase(
  listing: CloudListing,
  only: string | null,
): AsyncGenerator<Found> {
  for await (const project of listing.projects(only)) {
    yield { kind: 'project', ...projectOf(project) };
    for await (const row of listing.generations(project.project_id)) yield foundOf(row);
  }
}

/** How many generations there are to restore. */
export async function countInDatabase(listing: CloudListing, only: string | null): Promise<number> {
  let count = 0;
  for await (const { versions } of listing.projects(only)) count += versions;
  return count;
}

function projectOf({ project_id, owner_id, latest_version }: CloudProject) {
  // What a row says is no word of ours.
  if (!isId(project_id)) {
    throw new StorageError(
      'corrupt',
      `Cannot restore: the database has a project ${JSON.stringify(project_id)}`,
    );
  }
  return {
    projectId: project_id,
    ownerId: owner_id,
    latestVersion: latest_version,
    activation: null,
  };
}

function foundOf(row: CloudGeneration): Found {
  const ref: Ref = {
    ...{ projectId: row.project_id, version: row.version, generationId: row.generation_id },
  };
  if (!isVersion(ref.version) || !isId(ref.generationId)) {
    throw new StorageError(
      'corrupt',
      `Cannot restore: the database has a generation ${JSON.stringify(ref)}`,
    );
  }
  const { digest, epoch } = row;
  if (row.status === 'deleted') {
    const deletedAt = iso(row.deleted_at ?? row.created_at)!;
    return { kind: 'deletion', ref, digest, deletedAt, epoch };
  }
  const { status } = row;
  if (!isInCloud(status)) {
    const state =
      status === 'failed'
        ? `its host gave the upload up: ${row.failure ?? 'nobody knows why'}`
        : 'it never got to the cloud, its host alone has it';
    return { kind: 'absent', ref, reason: `Cannot restore ${formatRef(ref)}: ${state}` };
  }
  return {
    kind: 'generation',
    ref,
    places: [{ bucket: row.bucket, key: row.object_key }],
    digest,
    sha256: row.sha256,
    bytes: row.archive_bytes,
    recorded: {
      status,
      uploadedAt: iso(row.uploaded_at),
      epoch,
    },
  };
}

/** As this host writes times, whatever the database does. */
function iso(time: string | null): string | null {
  return time === null ? null : new Date(time).toISOString();
}
