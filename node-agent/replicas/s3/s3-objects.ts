import { createHash } from 'node:crypto';
import type { ArchiveFile } from '../../cloud/archive-file.ts';
import type { ObjectInfo } from '../../cloud/object-info.ts';
import type { ListedArchive } from '../../cloud/objects.ts';
import { CloudError } from '../../cloud/outage.ts';
import { ARCHIVE_TYPE, isId } from '../../contract.ts';
import { probe, publicBucket, putProven } from '../prove.ts';
import type { ReplicaObjects } from '../replica-objects.ts';
import { type S3Connection, SignedRequests } from './signed-requests.ts';
import { Xml } from './xml.ts';

/** Our own hash of an archive, as S3 keeps what it is told of an object. */
const SHA256 = 'x-amz-meta-sha256';
const JSON_TYPE = 'application/json';

/** Archives in a bucket of the S3 protocol. */
export class S3Objects implements ReplicaObjects {
  readonly bucket: string;
  readonly mostSeconds = 7 * 24 * 3600;
  readonly #requests: SignedRequests;

  constructor(connection: S3Connection) {
    this.bucket = connection.replica.bucket;
    this.#requests = new SignedRequests(connection);
  }

  async check(): Promise<void> {
    const { who } = this.#requests;
    const doing = `use the bucket "${this.bucket}"`;
    await this.#list({ 'max-keys': '1' }, doing);
    await probe(this, doing, who, async (key) => {
      for (const [asked, query] of [
        [key, {}],
        [null, { 'list-type': '2' }],
      ] as const) {
        const status = await this.#requests.askAsAnybody(asked, query, doing);
        if (status === 200) throw publicBucket(doing, who);
      }
    });
  }

  put(key: string, archive: ArchiveFile): Promise<boolean> {
    const headers = {
      'content-type': ARCHIVE_TYPE,
      'content-md5': Buffer.from(archive.md5, 'hex').toString('base64'),
      [SHA256]: archive.sha256,
    };
    const send = async () => {
      const answer = await this.#requests.sendFile(key, archive, headers, `copy "${key}"`);
      return { bytes: archive.bytes, etag: bare(answer.headers.get('etag')), sha256: null };
    };
    return putProven(this, key, archive, { who: this.#requests.who, send });
  }

  async info(key: string): Promise<ObjectInfo | null> {
    const doing = `look up "${key}"`;
    try {
      const { headers } = await this.#requests.ask({ method: 'HEAD', key }, doing);
      return {
        bytes: Number(headers.get('content-length') ?? -1),
        etag: bare(headers.get('etag')),
        sha256: headers.get(SHA256),
      };
    } catch (error) {
      const status = error instanceof CloudError ? (error.cause as { status?: number }).status : 0;
      if (status === undefined || status < 300 || status >= 500 || status === 429) throw error;
      // HEAD says no more than its status: a list says why, and is whether it is there.
      const found = await this.#list({ prefix: key, 'max-keys': '1' }, doing);
      if (found.all('Contents').some((one) => one.text('Key') === key)) throw error;
      return null;
    }
  }

  async readBack(key: string): Promise<string> {
    return (await this.#requests.receive(key, null, `read back "${key}"`)).sha256;
  }

  async download(key: string, file: string): Promise<{ sha256: string; etag: string }> {
    const { sha256, headers } = await this.#requests.receive(key, file, `download "${key}"`);
    return { sha256, etag: bare(headers.get('etag')) };
  }

  async remove(key: string): Promise<void> {
    try {
      await this.#requests.ask({ method: 'DELETE', key }, `remove "${key}"`);
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }

  async putText(key: string, text: string): Promise<void> {
    const headers = {
      'content-type': JSON_TYPE,
      'x-amz-content-sha256': createHash('sha256').update(text).digest('hex'),
    };
    await this.#requests.ask({ method: 'PUT', key, headers }, `write "${key}"`, text);
  }

  async readText(key: string): Promise<string | null> {
    try {
      return (await this.#requests.ask({ method: 'GET', key }, `read "${key}"`)).text;
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
  }

  async *listProjects(only: string | null): AsyncGenerator<string> {
    if (only !== null) {
      yield only;
      return;
    }
    for await (const page of this.#pages({ delimiter: '/' }, 'list the projects')) {
      for (const one of page.all('CommonPrefixes')) {
        const name = one.text('Prefix').slice(0, -1);
        if (isId(name)) yield name;
      }
    }
  }

  async *listArchives(projectId: string): AsyncGenerator<ListedArchive> {
    const prefix = `${projectId}/generations/`;
    for await (const page of this.#pages({ prefix }, `list "${prefix}"`)) {
      for (const one of page.all('Contents')) {
        const bytes = Number(one.text('Size'));
        yield { key: one.text('Key'), createdAt: one.text('LastModified'), bytes };
      }
    }
  }

  async *#pages(query: Readonly<Record<string, string>>, doing: string): AsyncGenerator<Xml> {
    for (let token = ''; ; ) {
      const goesOn: Record<string, string> = token === '' ? {} : { 'continuation-token': token };
      const page = await this.#list({ ...query, ...goesOn }, doing);
      yield page;
      token = page.text('NextContinuationToken');
      if (token === '') return;
    }
  }

  async #list(query: Readonly<Record<string, string>>, doing: string): Promise<Xml> {
    const asked = { method: 'GET', key: null, query: { 'list-type': '2', ...query } } as const;
    const { text } = await this.#requests.ask(asked, doing);
    const page = Xml.parse(text, 'ListBucketResult');
    if (page !== null) return page;
    const state = `${this.#requests.who} answered in words that are not those of S3`;
    throw new CloudError('storage', 'away', 'unavailable', `Cannot ${doing}: ${state}`);
  }

  sign(key: string, expiresIn: number, filename: string): Promise<string> {
    const query = {
      'response-content-disposition': `attachment; filename="${filename}"`,
      'response-content-type': ARCHIVE_TYPE,
    };
    return this.#requests.sign(key, expiresIn, query);
  }
}

const bare = (etag: string | null) => (etag ?? '').replaceAll('"', '');

function isMissing(error: unknown): boolean {
  return error instanceof CloudError && error.code === 'not_found' && error.outage === null;
}
