import { expect, test } from 'vitest';
import { hostilePath, safePath } from '../support/paths.ts';
import { fc } from '../support/properties.ts';
import { openTestStorage } from '../support/storage.ts';
import { tempFolder } from '../support/temp.ts';
import { listTree, readTree } from '../support/tree.ts';

/** How often each property is tried; `FUZZ_RUNS=10000 npx vitest run tests/agent` is the long form. */
const numRuns = Number(process.env.FUZZ_RUNS ?? 200);

test('one hostile path among safe ones: refused, named, nothing written', async () => {
  const outside = await tempFolder();
  const storePath = `${outside}/a/b/store`;
  const storage = await openTestStorage({ storePath });
  const before = listTree(outside);
  await fc.assert(
    fc.asyncProperty(fc.array(safePath, { maxLength: 4 }), hostilePath, async (safe, hostile) => {
      const files = new Map([...safe, hostile].map((path) => [path, 'x']));
      const error = await storage.save({ projectId: 'p', files }).then(
        () => null,
        (reason: unknown) => reason as { code: string; message: string },
      );
      // A safe path may collide with another; whatever is named, it is one that was given.
      expect(error?.code).toBe('invalid_input');
      const named = [...files.keys()].some((path) => {
        const shown = path.length > 200 ? `${path.slice(0, 200)}…` : path;
        return error?.message.includes(JSON.stringify(shown));
      });
      expect(named, error?.message).toBe(true);
    }),
    { numRuns },
  );
  const after = listTree(outside).filter((name) => !name.includes('.codebegen-storage/'));
  expect(after).toEqual(before.filter((name) => !name.includes('.codebegen-storage/')));
  expect(listTree(outside).filter((name) => /staging\/[^/]+\/./.test(name))).toEqual([]);
  expect((await storage.list('p')).items).toEqual([]);
});

test.each([[['a', 'A']], [['caf\u00e9', 'cafe\u0301']], [['x', 'x/y']], [['Src/a', 'src/b']]])(
  'paths that clash, %j: refused, nothing written',
  async (paths) => {
    const storePath = await tempFolder();
    const storage = await openTestStorage({ storePath });
    const files = Object.fromEntries(paths.map((path) => [path, 'x']));
    await expect(storage.save({ projectId: 'p', files })).rejects.toMatchObject({
      code: 'invalid_input',
      message: expect.stringContaining(JSON.stringify(paths[1])),
    });
    expect(listTree(storePath).filter((name) => !name.startsWith('.codebegen'))).toEqual([]);
  },
);

test('whatever is taken is given back byte for byte', async () => {
  const storage = await openTestStorage();
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(safePath, fc.uint8Array({ maxLength: 2000 })), { minLength: 1 }),
      async (entries) => {
        const files = new Map(entries);
        const receipt = await storage.save({ projectId: 'q', files }).catch((error) => {
          // Random paths may clash.
          expect(error.code).toBe('invalid_input');
          return null;
        });
        if (receipt === null) return;
        const tree = readTree((await storage.get(receipt)).sourcePath);
        expect(new Map(Object.entries(tree))).toEqual(
          new Map([...files].map(([path, bytes]) => [path, Buffer.from(bytes)])),
        );
      },
    ),
    { numRuns: Math.ceil(numRuns / 4) },
  );
});
