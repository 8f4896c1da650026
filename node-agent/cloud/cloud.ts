import { StorageError } from '../contract.ts';
import type { ActivationsBySecretKey } from './activations.ts';
import type { CopiesBySecretKey } from './copies.ts';
import type { HostsBySecretKey } from './hosts.ts';
import type { LinksBySecretKey } from './links.ts';
import type { ListingBySecretKey } from './listing.ts';
import type { ObjectsBySecretKey } from './objects.ts';
import type { ProjectFilesBySecretKey } from './project-files.ts';
import type { RecordsBySecretKey } from './records.ts';
import type { RetentionBySecretKey } from './retention.ts';

/** What a class does, without how. */
type Interface<T> = Pick<T, keyof T>;

/** Archives in the bucket. */
export type CloudObjects = Interface<ObjectsBySecretKey>;
/** The rows of generations. */
export type CloudRecords = Interface<RecordsBySecretKey>;
/** Which version of a project is active. */
export type CloudActivations = Interface<ActivationsBySecretKey>;
/** What is deleted, undeleted and purged; and the feed of it. */
export type CloudRetention = Interface<RetentionBySecretKey>;
/** What the database knows, whoever saved it. */
export type CloudListing = Interface<ListingBySecretKey>;
/** The hosts that have a key of their own. */
export type CloudHosts = Interface<HostsBySecretKey>;
/** The links that users made to generations. */
export type CloudLinks = Interface<LinksBySecretKey>;
/** What replicas have, and what is owed to them. */
export type CloudCopies = Interface<CopiesBySecretKey>;
/** The files of projects in the bucket. */
export type CloudProjectFiles = Interface<ProjectFilesBySecretKey>;

/**
 * The cloud: what lies in the bucket, and what the database says of it. There are two of each part: by the secret key
 * of the project, and by the key of a host.
 */
export type Cloud = Readonly<{
  objects: CloudObjects;
  records: CloudRecords;
  activations: CloudActivations;
  retention: CloudRetention;
  listing: CloudListing;
  hosts: CloudHosts;
  links: CloudLinks;
  copies: CloudCopies;
  projectFiles: CloudProjectFiles;
}>;

/** @throws StorageError `unavailable` while the cloud is off */
export function checkCloudOn(cloud: Cloud | null): Cloud {
  if (cloud !== null) return cloud;
  throw new StorageError('unavailable', 'Cannot ask the cloud: the cloud is off');
}
