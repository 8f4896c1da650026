/**
 * A server of the S3 protocol, as far as replicas ask: signatures and hashes are checked as S3 does. What it says is
 * compared with a real server, moto, by the same tests where that is installed.
 */
import { createHash, createHmac } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

const KEY_ID = 'AKIAEXAMPLE';
const SECRET = 'c2VjcmV0LWFjY2Vzcy1rZXk';
const SKEW_MS = 15 * 60_000;

type Stored = { body: Buffer; etag: string; headers: Record<string, string>; at: Date };
type Refusal = { status: number; code: string; more?: string; headers?: Record<string, string> };

/** How it gives no answer; `cut`: the connection breaks off in the midst of a body. */
type Silence = 'hang' | 'close' | 'cut';

export type FakeS3 = Readonly<{
  url: string;
  keyId: string;
  secret: string;
  region: string;
  /** The objects of each bucket. */
  buckets: Map<string, Map<string, Stored>>;
  /** Requests, as `PUT /bucket/key`. */
  asked: string[];
  /** Buckets that anybody may read. */
  open: Set<string>;
  /** Whether eTags are MD5, as they are not of what a key of KMS encrypts. */
  setEtags(areMd5: boolean): void;
  /** Answers in its place; `null`: as it would. */
  setFault(fault: ((request: IncomingMessage) => Refusal | Silence | null) | null): void;
  close(): Promise<void>;
}>;

export async function startFakeS3(region = 'eu-central-1'): Promise<FakeS3> {
  const buckets = new Map<string, Map<string, Stored>>();
  const asked: string[] = [];
  const open = new Set<string>();
  let fault: Parameters<FakeS3['setFault']>[0] = null;
  let areMd5 = true;

  const server = createServer((request, response) => {
    void answer(request, response).catch(() => response.destroy());
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', headers } = request;
    const url = new URL(request.url!, 'http://localhost');
    asked.push(`${method} ${decodeURIComponent(url.pathname)}`);
    const hash = createHash('sha256');
    const md5 = createHash('md5');
    const pieces: Buffer[] = [];
    const faulty = fault?.(request) ?? null;
    if (faulty === 'close') {
      request.destroy();
      return;
    }
    if (faulty === 'hang') return;
    const { socket } = request;
    for await (const piece of request) {
      if (faulty === 'cut') socket.destroy();
      hash.update(piece as Buffer);
      md5.update(piece as Buffer);
      pieces.push(piece as Buffer);
    }
    const refuse = ({ status, code, more = '', headers: given = {} }: Refusal) => {
      const text = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>no</Message>${more}</Error>`;
      response.writeHead(status, { 'content-type': 'application/xml', ...given });
      response.end(method === 'HEAD' ? '' : text);
    };
    if (faulty !== null && faulty !== 'cut') return refuse(faulty);
    const [, bucket = '', ...rest] = url.pathname.split('/');
    const key = decodeURIComponent(rest.join('/'));
    const isAnybody =
      headers.authorization === undefined && !url.searchParams.has('X-Amz-Signature');
    const refused = isAnybody
      ? open.has(bucket) && method === 'GET'
        ? null
        : { status: 403, code: 'AccessDenied' }
      : checkSignature(method, url, headers as Record<string, string>, region);
    if (refused !== null) return refuse(refused);
    const objects = buckets.get(bucket);
    if (objects === undefined) return refuse({ status: 404, code: 'NoSuchBucket' });
    if (key === '') return list(response, bucket, objects, url.searchParams);
    const known = objects.get(key);
    if (method === 'PUT') {
      const said = headers['x-amz-content-sha256'];
      if (said !== 'UNSIGNED-PAYLOAD' && said !== hash.digest('hex')) {
        return refuse({ status: 400, code: 'XAmzContentSHA256Mismatch' });
      }
      const digest = md5.digest();
      if (
        headers['content-md5'] !== undefined &&
        headers['content-md5'] !== digest.toString('base64')
      ) {
        return refuse({ status: 400, code: 'BadDigest' });
      }
      const etag = areMd5 ? digest.toString('hex') : `${'0'.repeat(32)}-1`;
      const kept = Object.entries(headers).filter(
        ([name]) => name.startsWith('x-amz-meta-') || name === 'content-type',
      ) as [string, string][];
      objects.set(key, {
        body: Buffer.concat(pieces),
        etag,
        headers: Object.fromEntries(kept),
        at: new Date(),
      });
      response.writeHead(200, { etag: `"${etag}"` }).end();
      return;
    }
    if (method === 'DELETE') {
      objects.delete(key);
      response.writeHead(204).end();
      return;
    }
    if (known === undefined) return refuse({ status: 404, code: 'NoSuchKey' });
    const disposition = url.searchParams.get('response-content-disposition');
    response.writeHead(200, {
      ...known.headers,
      ...(disposition === null ? {} : { 'content-disposition': disposition }),
      'content-length': known.body.length,
      etag: `"${known.etag}"`,
      'last-modified': known.at.toUTCString(),
    });
    if (faulty === 'cut') {
      response.write(known.body.subarray(0, known.body.length / 2), () => socket.destroy());
      return;
    }
    response.end(method === 'HEAD' ? undefined : known.body);
  }

  // A busy machine may not come back to a connection within the five seconds of the default.
  server.keepAliveTimeout = 60_000;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    ...{ keyId: KEY_ID, secret: SECRET, region, buckets, asked, open },
    setEtags: (given) => {
      areMd5 = given;
    },
    setFault: (given) => {
      fault = given;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function list(
  response: ServerResponse,
  bucket: string,
  objects: Map<string, Stored>,
  query: URLSearchParams,
): void {
  const [prefix, delimiter] = [query.get('prefix') ?? '', query.get('delimiter') ?? ''];
  const most = Number(query.get('max-keys') ?? 1000);
  const after = query.get('continuation-token') ?? '';
  const names = new Map<string, string>();
  for (const key of [...objects.keys()].sort()) {
    if (!key.startsWith(prefix)) continue;
    const end = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length);
    const name = end === -1 ? key : key.slice(0, end + 1);
    if (name <= after || names.has(name)) continue;
    const { body, at, etag } = objects.get(key)!;
    names.set(
      name,
      end === -1
        ? `<Contents><Key>${name}</Key><LastModified>${at.toISOString()}</LastModified><ETag>&quot;${etag}&quot;</ETag><Size>${body.length}</Size></Contents>`
        : `<CommonPrefixes><Prefix>${name}</Prefix></CommonPrefixes>`,
    );
  }
  const page = [...names.keys()].slice(0, most);
  const isMore = names.size > most;
  const token = isMore ? `<NextContinuationToken>${page.at(-1)}</NextContinuationToken>` : '';
  response.writeHead(200, { 'content-type': 'application/xml' });
  response.end(
    `<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>${bucket}</Name><IsTruncated>${isMore}</IsTruncated>${token}${page.map((name) => names.get(name)).join('')}</ListBucketResult>`,
  );
}

/** docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html */
function checkSignature(
  method: string,
  url: URL,
  headers: Record<string, string>,
  region: string,
): Refusal | null {
  const isQuery = url.searchParams.has('X-Amz-Signature');
  const given = isQuery
    ? {
        credential: url.searchParams.get('X-Amz-Credential') ?? '',
        signed: url.searchParams.get('X-Amz-SignedHeaders') ?? '',
        signature: url.searchParams.get('X-Amz-Signature') ?? '',
        date: url.searchParams.get('X-Amz-Date') ?? '',
      }
    : {
        credential: /Credential=([^,]+)/.exec(headers.authorization ?? '')?.[1] ?? '',
        signed: /SignedHeaders=([^,]+)/.exec(headers.authorization ?? '')?.[1] ?? '',
        signature: /Signature=(\w+)/.exec(headers.authorization ?? '')?.[1] ?? '',
        date: headers['x-amz-date'] ?? '',
      };
  const [keyId, day = '', named, service] = given.credential.split('/');
  if (keyId !== KEY_ID) return { status: 403, code: 'InvalidAccessKeyId' };
  if (named !== region) {
    const more = `<Region>${region}</Region>`;
    return { status: 400, code: 'AuthorizationHeaderMalformed', more };
  }
  const at = Date.parse(
    given.date.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'),
  );
  const lasts = isQuery ? Number(url.searchParams.get('X-Amz-Expires')) * 1000 : SKEW_MS;
  if (Number.isNaN(at) || Date.now() - at > lasts || at - Date.now() > SKEW_MS) {
    return { status: 403, code: isQuery ? 'AccessDenied' : 'RequestTimeTooSkewed' };
  }
  const query = [...url.searchParams]
    .filter(([name]) => name !== 'X-Amz-Signature')
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .sort()
    .join('&');
  const path = decodeURIComponent(url.pathname).split('/').map(encode).join('/');
  const lines = given.signed.split(';').map((name) => `${name}:${(headers[name] ?? '').trim()}\n`);
  const payload = isQuery ? 'UNSIGNED-PAYLOAD' : headers['x-amz-content-sha256'];
  const canonical = [method, path, query, lines.join(''), given.signed, payload].join('\n');
  const scope = `${day}/${region}/${service}/aws4_request`;
  const hashed = createHash('sha256').update(canonical).digest('hex');
  const key = [day, region, service!, 'aws4_request'].reduce<Buffer | string>(
    (secret, part) => createHmac('sha256', secret).update(part).digest(),
    `AWS4${SECRET}`,
  );
  const text = `AWS4-HMAC-SHA256\n${given.date}\n${scope}\n${hashed}`;
  const expected = createHmac('sha256', key).update(text).digest('hex');
  return expected === given.signature ? null : { status: 403, code: 'SignatureDoesNotMatch' };
}

const encode = (text: string) =>
  encodeURIComponent(text).replace(
    /[!'()*]/g,
    (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`,
  );
