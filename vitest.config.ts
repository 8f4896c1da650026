import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

// Hundreds of programs are run: compiled once, each starts in a third of the CPU time.
process.env.NODE_COMPILE_CACHE ??= fileURLToPath(
  new URL('node_modules/.cache/node-compile', import.meta.url),
);

export default defineConfig({
  test: {
    include: ['tests/**/*.test.ts'],
    globalSetup: ['tests/support/global-setup.ts'],
    reporters: ['default', './tests/support/summary-reporter.ts'],
    // Two cores: more workers would only take turns. Each stack needs most of one.
    maxWorkers: 2,
    // The long form runs every step of a scenario within one test.
    testTimeout: process.env.CRASH_LONG === '1' ? 900_000 : 120_000,
    hookTimeout: 120_000,
  },
});
