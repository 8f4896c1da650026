#!/usr/bin/env node
/** The executable `codebegen-storage`. Old Node fails at the imports of the rest: say why first. */
const major = Number(process.versions.node.split('.')[0]);
if (major < 24) {
  console.error(`codebegen-storage needs Node 24 or newer, this is ${process.version}`);
  process.exitCode = 1;
} else {
  const { main } = await import('./cli/main.ts');
  process.exitCode = await main(process.argv.slice(2));
}

export {};
