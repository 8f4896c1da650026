import { closeSync, openSync, rmSync } from 'node:fs';
import { PRIVATE_FILE } from './private.ts';
import { RunWriter } from './run-writer.ts';

/** What is gathered before it is written. */
const BUFFER_BYTES = 64 * 1024;

/** A file without a name, for what has to be whole before it can be read. It is gone once it is closed. */
export class Spool {
  readonly fd: number;
  readonly run: RunWriter;

  /** @param path a free one: where the file is for a moment */
  constructor(path: string) {
    this.fd = openSync(path, 'wx+', PRIVATE_FILE);
    rmSync(path);
    this.run = new RunWriter(this.fd, 0, BUFFER_BYTES);
  }

  close(): void {
    this.run.close();
    closeSync(this.fd);
  }
}
