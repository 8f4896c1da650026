import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import config from '../../vitest.config.ts';

/** The project's own configuration, with the tests of one group, all in one thread. */
export default defineConfig({
  test: {
    ...config.test,
    include: process.env.MUTATION_TESTS!.split(' '),
    alias: [
      {
        find: /^.*\/threads\/pool\.ts$/,
        replacement: fileURLToPath(new URL('./same-thread.ts', import.meta.url)),
      },
    ],
  },
});
