/** What safety rests on, and the tests that have to notice a mistake in it. */
export type Group = {
  /** The files that mistakes are made in. */
  mutate: string[];
  /** The tests that run for each mistake. */
  tests: string[];
  /**
   * Where the code runs in a thread or a program of its own, nobody sees which test came through a
   * line: then each mistake meets all tests of the group.
   */
  elsewhere?: boolean;
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
  'signed-path': { mutate: ['node-agent/read/signed-path.ts'], tests: ['tests/agent/get.test.ts'] },
  guard: {
    mutate: ['node-agent/daemon/guard.ts'],
    tests: ['tests/agent/daemon.test.ts'],
    elsewhere: true,
  },
  auth: {
    mutate: ['functions/_shared/{auth,key-list}.ts', 'functions/generations/authenticate.ts'],
    tests: ['tests/functions/auth.test.ts'],
  },
  outages: {
    mutate: ['node-agent/upload/{backoff,breaker,retries}.ts', 'node-agent/cloud/retry-after.ts'],
    tests: ['tests/agent/retries.test.ts'],
  },
  jobs: {
    mutate: ['node-agent/catalog/{jobs,owing}.ts'],
    tests: ['tests/agent/life.test.ts', 'tests/agent/upload.test.ts'],
  },
  evict: {
    mutate: ['node-agent/upkeep/{evict,evict-cached,evict-stored,evict-trees,proof}.ts'],
    tests: ['tests/agent/evict.test.ts'],
  },
  commit: {
    mutate: ['node-agent/store/{commit,replace,settle-archive}.ts'],
    tests: ['tests/agent/replace.test.ts', 'tests/agent/settle.test.ts'],
  },
  archive: {
    mutate: [
      'node-agent/archive/{archive-reader,read-tar,tar-reader,tar,stored-tar,own-manifest,find-blocks,plain-tar,unpack}.ts',
    ],
    tests: ['tests/agent/{archive,plain-tar,hostile-archives}.test.ts'],
    elsewhere: true,
  },
  zip: {
    mutate: ['functions/_shared/zip.ts', 'functions/generations/archive-zip.ts'],
    tests: ['tests/functions/zip.test.ts'],
  },
  diff: {
    mutate: [
      `${CONTRACT}/diff.ts`,
      'functions/_shared/unified.ts',
      'functions/generations/diff-generations.ts',
    ],
    tests: ['tests/functions/diff.test.ts'],
  },
};
