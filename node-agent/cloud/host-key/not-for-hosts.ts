import type { CloudHosts, CloudProjectFiles } from '../cloud.ts';
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

/** No host adds another. */
export const hostsBySecretKey: CloudHosts = {
  list: refuse('list the hosts'),
  add: refuse('add a host'),
  rotate: refuse('rotate the key of a host'),
  assign: refuse('assign projects to a host'),
  assignFrom: refuse('assign projects to a host'),
  revoke: refuse('revoke a host'),
};
