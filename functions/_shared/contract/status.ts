/**
 * Where a generation is on its way to the cloud.
 *
 * - `local`: on the host alone, the cloud is off
 * - `pending`: on the host, its upload is owed
 * - `uploaded`: whole in the bucket
 * - `verified`: in the bucket, and its bytes proven equal
 * - `failed`: the upload is parked, with the reason
 * - `deleted`: gone, a tombstone is left
 */
export const STATUSES = ['local', 'pending', 'uploaded', 'verified', 'failed', 'deleted'] as const;

export type Status = (typeof STATUSES)[number];

/** Tells whether the whole archive is in the bucket, so that it may be signed and read. */
export function isInCloud(status: Status): status is 'uploaded' | 'verified' {
  return status === 'uploaded' || status === 'verified';
}
