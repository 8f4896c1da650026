/** `npm run docs`: draws the life of a job into `node-agent/upload/README.md`, from its table. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { STEPS } from '../node-agent/catalog/jobs.ts';
import { LIFE, type Next, OUTCOMES } from '../node-agent/upload/life.ts';
import { drawTable } from './draw-table.ts';

const README = fileURLToPath(new URL('../node-agent/upload/README.md', import.meta.url));
const BEGIN = '<!-- The table is drawn by `npm run docs`. -->';
const END = '<!-- The end of the table. -->';

/** The README with the table as it is now. */
export function writeLife(readme: string): string {
  const [before, rest] = readme.split(BEGIN);
  const after = rest?.split(END)[1];
  if (after === undefined) throw new Error('Cannot draw the table: its place is not marked');
  const rows = STEPS.map((step) => [
    `\`${step}\``,
    ...OUTCOMES.map((outcome) => sayNext(LIFE[step][outcome])),
  ]);
  return `${before}${BEGIN}\n\n${drawTable(['step', ...OUTCOMES], rows)}\n${END}${after}`;
}

function sayNext(next: Next): string {
  if (typeof next === 'string') return next.replace('_', ' ');
  return 'go' in next ? next.go : `${next.again}, later`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(README, writeLife(readFileSync(README, 'utf8')));
}
