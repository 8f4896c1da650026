import { errors, jwtVerify, SignJWT } from 'jose';
import * as v from 'valibot';
import { StorageError } from './contract/errors.ts';
import { ID_PATTERN } from './contract/ids.ts';
import type { Environment } from './environment.ts';

/** What a link to an archive says: which one, and for whom it was made. */
const LinkSchema = v.object({
  sub: v.string(),
  project: v.pipe(v.string(), v.regex(ID_PATTERN)),
  version: v.number(),
  generation: v.pipe(v.string(), v.regex(ID_PATTERN)),
});
export type ArchiveLink = v.InferOutput<typeof LinkSchema>;

export type ArchiveLinks = Readonly<{
  /** @param expiresAt seconds since 1970 */
  sign(link: ArchiveLink, expiresAt: number): Promise<string>;
  /** @throws StorageError `unauthenticated` where it was not signed here or has expired */
  verify(token: string): Promise<ArchiveLink>;
}>;

const AUDIENCE = 'archive.zip';

/**
 * Signs links to archives, and reads them again: JWTs of a key of their own, which is derived
 * from the secret key of the project (HKDF, RFC 5869), so that there is none to configure.
 */
export function createArchiveLinks(environment: Environment): ArchiveLinks {
  let deriving: Promise<Uint8Array> | null = null;
  const getKey = () => {
    deriving ??= deriveKey(environment.secretKey);
    return deriving;
  };
  return {
    async sign({ sub, ...link }, expiresAt) {
      return new SignJWT(link)
        .setProtectedHeader({ alg: 'HS256' })
        .setSubject(sub)
        .setAudience(AUDIENCE)
        .setExpirationTime(expiresAt)
        .sign(await getKey());
    },
    async verify(token) {
      const options = { algorithms: ['HS256'], audience: AUDIENCE, requiredClaims: ['exp'] };
      try {
        return v.parse(LinkSchema, (await jwtVerify(token, await getKey(), options)).payload);
      } catch (cause) {
        const state =
          cause instanceof errors.JWTExpired ? 'it has expired' : 'it is not valid here';
        throw new StorageError('unauthenticated', `Cannot follow the link: ${state}`, { cause });
      }
    },
  };
}

async function deriveKey(secret: string): Promise<Uint8Array> {
  const bytes = new TextEncoder();
  const key = await crypto.subtle.importKey('raw', bytes.encode(secret), 'HKDF', false, [
    'deriveBits',
  ]);
  const info = bytes.encode('codebegen-storage archive.zip');
  const algorithm = { name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(0), info };
  return new Uint8Array(await crypto.subtle.deriveBits(algorithm, key, 256));
}
