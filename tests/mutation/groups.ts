/** What safety rests on, and the tests that have to notice a mistake in it. */
export type Group = {
  /** The files that mistakes are made in. */
  mutate: string[];
  /** The tests that may notice: those that come through the line are run. */
  tests: string[];
};

const CONTRACT = 'functions/_shared/contract';

export const GROUPS: Record<string, Group> = {
  names: {
    mutate: [
      `${CONTRACT}/{archive-names,digest,ids,limits,manifest,object-key,paths,ref,validate}.ts`,
    ],
    tests: ['tests/contract/*.test.ts'],
  },
  tar: { mutate: [`${CONTRACT}/tar.ts`], tests: ['tests/contract/tar.test.ts'] },
  doors: {
    mutate: ['node-agent/read/signed-path.ts', 'node-agent/daemon/guard.ts'],
    tests: ['tests/agent/signed-path.test.ts', 'tests/agent/guard.test.ts'],
  },
  auth: {
    mutate: ['functions/_shared/{auth,key-list}.ts', 'functions/generations/authenticate.ts'],
    tests: ['tests/functions/{auth,zip,generations}.test.ts'],
  },
  outages: {
    mutate: ['node-agent/upload/{backoff,breaker,retries}.ts', 'node-agent/cloud/retry-after.ts'],
    tests: ['tests/agent/retries.test.ts'],
  },
  jobs: {
    mutate: ['node-agent/catalog/{jobs,owing}.ts', 'node-agent/upload/{life,settle}.ts'],
    tests: ['tests/agent/{jobs,life}.test.ts'],
  },
  evict: {
    mutate: ['node-agent/upkeep/{evict,evict-cached,evict-stored,evict-trees}.ts'],
    tests: ['tests/agent/{evict,get,least-used,trees}.test.ts'],
  },
  proof: {
    mutate: ['node-agent/upkeep/proof.ts'],
    tests: ['tests/agent/{evict,mended-objects,scrub,verify}.test.ts'],
  },
  commit: {
    mutate: ['node-agent/store/{commit,replace,settle-archive}.ts'],
    tests: ['tests/agent/{replace,settle,recovery}.test.ts'],
  },
  archive: {
    mutate: [
      'node-agent/archive/{archive-reader,find-blocks,own-manifest,plain-tar,read-tar,stored-tar,tar,tar-reader,unpack}.ts',
    ],
    tests: ['tests/agent/{archive,get,gzip,plain-tar,settle,stored-tar,unpack}.test.ts'],
  },
  zip: {
    mutate: ['functions/_shared/zip.ts', 'functions/generations/archive-zip.ts'],
    tests: ['tests/functions/{zip,zip-files}.test.ts'],
  },
  diff: {
    mutate: [
      `${CONTRACT}/diff.ts`,
      'functions/_shared/unified.ts',
      'functions/generations/diff-generations.ts',
    ],
    tests: ['tests/contract/diff.test.ts', 'tests/functions/{diff,unified}.test.ts'],
  },
};
