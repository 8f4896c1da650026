import { defineConfig } from 'vitest/config';
import config from '../../vitest.config.ts';

/** The project's own configuration, with the tests of one group. */
export default defineConfig({
  test: {
    ...config.test,
    include: process.env.MUTATION_TESTS!.split(' '),
    setupFiles: ['tests/mutation/pass-on.ts'],
  },
});
