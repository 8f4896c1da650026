/** Which language a file is in, and its text in colours. */
import bash from 'highlight.js/lib/languages/bash';
import css from 'highlight.js/lib/languages/css';
import dockerfile from 'highlight.js/lib/languages/dockerfile';
import go from 'highlight.js/lib/languages/go';
import ini from 'highlight.js/lib/languages/ini';
import java from 'highlight.js/lib/languages/java';
import javascript from 'highlight.js/lib/languages/javascript';
import json from 'highlight.js/lib/languages/json';
import markdown from 'highlight.js/lib/languages/markdown';
import python from 'highlight.js/lib/languages/python';
import rust from 'highlight.js/lib/languages/rust';
import sql from 'highlight.js/lib/languages/sql';
import typescript from 'highlight.js/lib/languages/typescript';
import xml from 'highlight.js/lib/languages/xml';
import yaml from 'highlight.js/lib/languages/yaml';
import { createLowlight } from 'lowlight';

const lowlight = createLowlight({
  ...{ bash, css, dockerfile, go, ini, java, javascript, json },
  ...{ markdown, python, rust, sql, typescript, xml, yaml },
});

/** What is longer is shown in one colour: it would take too long. */
const MOST = 256 * 1024;

const BY_NAME: Readonly<Record<string, string>> = {
  dockerfile: 'dockerfile',
  makefile: 'bash',
  '.env': 'ini',
};

const OTHER_ENDINGS: Readonly<Record<string, string>> = {
  cfg: 'ini',
  prisma: 'typescript',
  svg: 'xml',
};

type Nodes = ReturnType<typeof lowlight.highlight>['children'];
export type CodeNode = Nodes[number];

/** @returns `null` where it is to be shown as it is */
export function highlight(path: string, text: string): readonly CodeNode[] | null {
  if (text.length > MOST) return null;
  const name = (path.split('/').at(-1) ?? '').toLowerCase();
  const ending = name.split('.').at(-1) ?? '';
  const language = [BY_NAME[name], OTHER_ENDINGS[ending], ending].find(
    (one) => one !== undefined && lowlight.registered(one),
  );
  return language === undefined ? null : lowlight.highlight(language, text).children;
}
