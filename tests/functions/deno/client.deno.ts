/** The client in Deno, against the stack that the test run has. */
import { assert, assertEquals, assertRejects } from '@std/assert';
import { createClient, StorageError } from '../../../functions/client/index.ts';

const url = Deno.env.get('STACK_URL');
const token = Deno.env.get('STACK_TOKEN');

Deno.test('the client lists, creates and deletes', { ignore: !url || !token }, async () => {
  const storage = createClient(url!, () => token!);
  const project = await storage.createProject({ name: 'Deno' });
  assert((await storage.listProjects()).items.some(({ id }) => id === project.id));
  assertEquals((await storage.listGenerations(project.id)).items, []);
  const error = await assertRejects(() => storage.showGeneration(project.id, 1), StorageError);
  assertEquals(error.code, 'not_found');
  assertEquals(await storage.deleteProject(project.id), {
    project_id: project.id,
    status: 'deleted',
    undelete_until: null,
  });
});
