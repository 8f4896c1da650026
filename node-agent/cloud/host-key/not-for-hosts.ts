import type { CloudCopies, CloudHosts, CloudLinks, CloudProjectFiles } from '../cloud.ts';
import { takesSecretKey } from './api.ts';

const refuse = (doing: string) => async (): Promise<never> => {
  throw takesSecretKey(doing);
};

/** The function writes the files of projects; a restore that goes by them takes the secret key. */
export const projectFilesByFunction: CloudProjectFiles = {
  write: async () => 0,
  oweAgain: async () => {},
  read: refuse('read the files of projects'),
  begin: refuse('restore from the bucket'),
  end: refuse('restore from the bucket'),
};

/** A host with a key of its own holds no key of a replica either: one that may fills it. */
export const copiesBySecretKey: CloudCopies = {
  add: refuse('add a replica'),
  forget: refuse('forget a replica'),
  oweAll: refuse('fill a replica'),
  claim: refuse('fill a replica'),
  note: refuse('fill a replica'),
  // biome-ignore lint/correctness/useYield: it is refused at once
  async *list() {
    throw takesSecretKey('list what lies in a replica');
  },
  count: refuse('look how replicas are'),
  lose: refuse('mend a replica'),
  claimProjects: refuse('fill a replica'),
  noteProjects: refuse('fill a replica'),
};

/** No host adds another. */
export const hostsBySecretKey: CloudHosts = {
  list: refuse('list the hosts'),
  add: refuse('add a host'),
  rotate: refuse('rotate the key of a host'),
  assign: refuse('assign projects to a host'),
  assignFrom: refuse('assign projects to a host'),
  revoke: refuse('revoke a host'),
};

/** Links are their owners', and of whoever looks after the project. */
export const linksBySecretKey: CloudLinks = {
  list: refuse('list links'),
  end: refuse('end a link'),
};
