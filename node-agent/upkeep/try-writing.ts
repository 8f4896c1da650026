import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Catalog } from '../catalog/catalog.ts';
import type { StorageError } from '../contract.ts';
import { checkWritable } from '../disk/check-writable.ts';
import { fromFileSystem } from '../disk/file-errors.ts';
import { PRIVATE_FILE } from '../disk/private.ts';
import type { Store } from '../store/store.ts';

const DOING = 'save now';
/** No project has such a name. */
const TRIED = '.codebegen-storage-try-';

/**
 * Tries what every save does: something is written to staging and renamed into the store, and noted in the
 * catalog. Nothing is left of it.
 *
 * @throws StorageError that says what cannot be written
 */
export async function tryWriting({
  store,
  catalog,
  unwritable,
}: Readonly<{ store: Store; catalog: Catalog; unwritable: StorageError | null }>): Promise<void> {
  checkWritable(unwritable, DOING);
  const placed = join(store.layout.root, TRIED + process.pid);
  try {
    const staged = store.staging.path();
    await writeFile(staged, TRIED, { flag: 'wx', mode: PRIVATE_FILE });
    await rename(staged, placed).finally(() => rm(staged, { force: true }));
    await rm(placed, { force: true });
  } catch (error) {
    throw fromFileSystem(error, DOING);
  }
  await catalog.write(() => catalog.meta.setTried());
}
