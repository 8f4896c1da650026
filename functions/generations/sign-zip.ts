import type { Download } from '../_shared/contract/downloads.ts';
import { checkZipSize } from './archive-zip.ts';
import type { UserContext } from './context.ts';
import type { GenerationRow } from './generation-row.ts';

/**
 * Makes a URL of the zip, which is made as it is asked for: neither hash nor size is known.
 *
 * @param expiresIn seconds
 * @throws StorageError `too_large`, `conflict` where it is not uploaded
 */
export async function signZip(
  c: UserContext,
  row: GenerationRow,
  expiresIn: number,
): Promise<Download> {
  await checkZipSize(c, row);
  const { userId } = c.var;
  return signZipFor(c, row, { userId, expiresIn });
}

/** The same for a zip whose size was looked at before. @param options.userId whose it is */
export async function signZipFor(
  c: { var: Pick<UserContext['var'], 'environment' | 'archiveLinks'> },
  row: GenerationRow,
  { userId, expiresIn }: { userId: string; expiresIn: number },
): Promise<Download> {
  const { environment, archiveLinks } = c.var;
  const expiresAt = Math.floor(Date.now() / 1000) + expiresIn;
  const { project_id: project, version, generation_id: generation } = row;
  const token = await archiveLinks.sign({ sub: userId, project, version, generation }, expiresAt);
  const path = `/functions/v1/generations/projects/${project}/${version}/archive.zip`;
  return {
    url: `${environment.publicUrl}${path}?token=${token}`,
    expires_at: new Date(expiresAt * 1000).toISOString(),
    sha256: null,
    size: null,
    link: null,
    region: null,
  };
}
