/** Makes inputs that no honest program would send. The same seed makes the same ones. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { makeTar, paxPath, type TarEntry } from '../support/tar.ts';

/** Draws from 0 to 1. */
type Random = () => number;

export class Inputs {
  readonly #random: Random;
  /** What nobody may get to. */
  readonly #outside: string;

  constructor(random: Random, outside: string) {
    this.#random = random;
    this.#outside = outside;
  }

  pick<T>(values: readonly T[]): T {
    return values[Math.floor(this.#random() * values.length)]!;
  }

  below(count: number): number {
    return Math.floor(this.#random() * count);
  }

  chance(share: number): boolean {
    return this.#random() < share;
  }

  /** Of a file: most are fine. */
  name(): string {
    const fine = [`f${this.below(20)}`, `d/f${this.below(20)}`, `d/e/f${this.below(5)}.py`];
    if (this.chance(0.7)) return this.pick(fine);
    return this.pick([
      ...[
        '../out',
        '/abs',
        'a/../../out',
        '',
        '.',
        '..',
        'a//b',
        'a/./b',
        'C:/x',
        'a\\b',
        '..\\out',
      ],
      ...[
        'a\nb',
        'a\0b',
        'a\u0001',
        'A',
        'a',
        'caf\u00e9',
        'cafe\u0301',
        'd',
        'd/f1/x',
        '\ufeffbom',
      ],
      ...[
        'n'.repeat(256),
        'p/'.repeat(600),
        'constructor',
        '__proto__',
        'toString',
        'a"b',
        'a%22b',
        'a%0ab',
      ],
      ...[
        '.codebegen/manifest.json',
        'manifest.json',
        'CON',
        'a:b',
        'dot.',
        ' blank ',
        '\ud800',
        '%',
        '*',
        '~',
      ],
    ]);
  }

  content(): string {
    return this.pick([
      '',
      'x',
      'print(1)\n',
      'y'.repeat(5000),
      '\r\n--b\r\n',
      '\0\0',
      'z'.repeat(100_000),
    ]);
  }

  json(): Buffer {
    const files = Array.from({ length: this.below(6) }, () => {
      const value = this.pick<unknown>([
        this.content(),
        { content: this.content(), encoding: this.pick(['utf8', 'base64', 'none']) },
        { content: 'eA==', encoding: 'base64', mode: this.pick([420, -1, 1e9, '7', 0o4755]) },
        { content: this.content(), extra: 1 },
        ...[1, null, [], {}, true],
      ]);
      return `${JSON.stringify(this.name())}:${JSON.stringify(value)}`;
    });
    const members = [
      `"project_id":${JSON.stringify(this.pick<unknown>(['p', 'p', 'p', '', '../p', 1, null, 'x'.repeat(200)]))}`,
      `"files":{${files.join()}}`,
      ...(this.chance(0.2)
        ? [`"version":${this.pick(['1', '"2"', '0', '1e99', '-1', 'null', '1.5'])}`]
        : []),
      ...(this.chance(0.2)
        ? [`"metadata":${this.pick(['{}', '[]', '1', '{"a":{"b":[1,2,{}]}}', '['.repeat(500)])}`]
        : []),
      ...(this.chance(0.1) ? [`"project_id":"q"`] : []),
      ...(this.chance(0.1) ? [`"unknown":1`] : []),
      ...(this.chance(0.05) ? [`"metadata":{"a":[${'0,'.repeat(400_000)}0]}`] : []),
    ];
    const text = `{${members.join()}}`;
    const spoilt = this.pick([
      text,
      text,
      text,
      text.slice(0, this.below(text.length)),
      `${text}x`,
      `\ufeff${text}`,
    ]);
    const bytes = Buffer.from(spoilt);
    if (this.chance(0.05) && bytes.length > 0) bytes[this.below(bytes.length)] = 0xff;
    return bytes;
  }

  form(): { body: Buffer; type: string; parts: number } {
    const boundary = 'b';
    let parts = 0;
    const part = (headers: string, content: string) =>
      Buffer.from(`--${boundary}\r\n${headers}\r\n\r\n${content}\r\n`);
    const pieces = [part('Content-Disposition: form-data; name="project_id"', 'p')];
    for (let i = this.below(5); i >= 0; i--) {
      const name = this.name();
      const headers = this.pick([
        `Content-Disposition: form-data; name="f"; filename="${name}"`,
        `Content-Disposition: form-data; name="f"; filename="${name}"`,
        `Content-Disposition: form-data; name="f"; filename="${name}"`,
        `content-disposition:form-data;name=f;filename="${name}"\r\nContent-Type: text/plain`,
        `Content-Disposition: attachment; filename="${name}"`,
        `Content-Disposition: form-data; name="f"; filename="${name}"\r\nContent-Transfer-Encoding: base64`,
        `Content-Disposition: form-data; name="f"; filename*=UTF-8''${encodeURIComponent(name.toWellFormed())}`,
        `X: ${'y'.repeat(this.below(20_000))}\r\nContent-Disposition: form-data; name="f"; filename="${name}"`,
        'Content-Type: text/plain',
        'nothing',
        '',
      ]);
      parts++;
      pieces.push(part(headers, this.content()));
    }
    if (this.chance(0.1))
      pieces.push(part('Content-Disposition: form-data; name="project_id"', 'q'));
    let body = Buffer.concat([...pieces, Buffer.from(`--${boundary}--\r\n`)]);
    if (this.chance(0.1)) body = body.subarray(0, this.below(body.length));
    const type = this.chance(0.05)
      ? this.pick([
          'multipart/form-data',
          'multipart/form-data; boundary=',
          'multipart/form-data; boundary=c',
        ])
      : `multipart/form-data; boundary=${boundary}`;
    return { body, type, parts };
  }

  tar(): { body: Buffer; files: number } {
    const entries: TarEntry[] = [];
    let files = 0;
    for (let i = this.below(8); i >= 0; i--) {
      const name = this.name().slice(0, 99);
      const type = this.chance(0.7)
        ? '0'
        : this.pick(['1', '2', '5', '3', '6', '7', 'S', 'V', 'Z', 'g', 'x', 'L', 'K', '\0']);
      const linkName = this.pick([
        'f1',
        '../out',
        this.#outside,
        `${this.#outside}/secret`,
        '.',
        'd',
        'nowhere',
        '',
      ]);
      if (this.chance(0.1)) entries.push(paxPath(this.name().replaceAll('\n', '')));
      const content = type === '0' || this.chance(0.3) ? this.content().slice(0, 2000) : '';
      const size = this.chance(0.05) ? this.pick([0, 1e9, 513]) : undefined;
      entries.push({ name, type, linkName, content, ...(size === undefined ? {} : { size }) });
      if (type === '0' || type === '\0') files++;
    }
    let tar = makeTar(entries);
    if (this.chance(0.1)) tar = tar.subarray(0, this.below(tar.length));
    if (this.chance(0.1) && tar.length > 0) {
      tar = Buffer.from(tar);
      tar[this.below(tar.length)]! ^= 1 << this.below(8);
    }
    if (this.chance(0.05)) tar = Buffer.concat([tar, Buffer.alloc(this.below(2_000_000))]);
    return { body: this.chance(0.5) ? gzipSync(tar) : tar, files };
  }

  /** A folder of anything. */
  tree(folder: string): void {
    mkdirSync(folder, { recursive: true });
    for (let i = this.below(8); i >= 0; i--) {
      const name = this.pick([
        ...[
          `f${i}`,
          `d/f${i}`,
          `d/e/f${i}`,
          `link${i}`,
          `d/link${i}`,
          `pipe${i}`,
          'manifest.json',
          'source',
        ],
        ...[
          'a\nb',
          'a\\b',
          'A',
          'a',
          'caf\u00e9',
          'cafe\u0301',
          `${'n'.repeat(200)}/${'m'.repeat(200)}/f`,
        ],
        ...[
          '.gitignore',
          '.codebegenignore',
          'node_modules/x',
          '.git/config',
          `w${i}/__pycache__/y`,
        ],
      ]);
      const path = join(folder, name);
      try {
        mkdirSync(dirname(path), { recursive: true });
        this.#put(path);
      } catch {
        // Something else is in its place.
      }
    }
  }

  #put(path: string): void {
    const what = this.below(10);
    const content = this.pick(['x', '*\n', '!*\n', '*a*b*c*d*e\n', 'y'.repeat(3000), '']);
    // Never through a link that lies there: those lead out of the test.
    if (what < 5) writeFileSync(path, content, { flag: 'wx' });
    else if (what < 9) {
      const targets = ['.', '..', '../..', this.#outside, `${this.#outside}/secret`];
      symlinkSync(this.pick([...targets, '/dev/zero', 'nowhere', path, 'd', 'f1']), path);
    } else execFileSync('mkfifo', [path]);
  }
}
