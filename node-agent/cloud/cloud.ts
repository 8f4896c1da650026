import { StorageError } from '../contract.ts';
import type { CloudActivations } from './activations.ts';
import type { CloudHosts } from './hosts.ts';
import type { CloudListing } from './listing.ts';
import type { CloudObjects } from './objects.ts';
import type { CloudProjectFiles } from './project-file.ts';
import type { CloudRecords } from './records.ts';
import type { CloudRetention } from './retention.ts';

/** The cloud: what lies in the bucket, and what the database says of it. */
export type Cloud = Readonly<{
  objects: CloudObjects;
  records: CloudRecords;
  activations: CloudActivations;
  retention: CloudRetention;
  listing: CloudListing;
  hosts: CloudHosts;
  projectFiles: CloudProjectFiles;
}>;

/** @throws StorageError `unavailable` while the cloud is off */
export function checkCloudOn(cloud: Cloud | null): Cloud {
  if (cloud !== null) return cloud;
  throw new StorageError('unavailable', 'Cannot ask the cloud: the cloud is off');
}
