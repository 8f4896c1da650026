/** A small web app, as one would write it: it knows the URL of the project and a publishable key. */
import { allItems, createClient, StorageError } from 'codebegen-storage/client';

const { url, key } = await (await fetch('/settings.json')).json();
const supabase = globalThis.supabase.createClient(url, key);
const storage = createClient(url, async () => {
  const { data } = await supabase.auth.getSession();
  return data.session?.access_token ?? null;
});

const $ = (id) => document.getElementById(id);
let project = '';

/** Runs what a click asks for; what goes wrong is shown by its code. */
function on(id, event, run) {
  $(id).addEventListener(event, async (happened) => {
    happened.preventDefault();
    try {
      $('error').textContent = '';
      await run(new FormData(happened.target.closest('form') ?? undefined));
    } catch (error) {
      $('error').textContent = error instanceof StorageError ? error.code : String(error);
    }
  });
}

function show(list, texts, onClick) {
  $(list).replaceChildren(
    ...texts.map((text) => {
      const item = document.createElement('li');
      item.textContent = text;
      item.addEventListener('click', () => onClick(text));
      return item;
    }),
  );
}

on('sign-in', 'submit', async (form) => {
  const credentials = Object.fromEntries(form);
  const { data, error } = await supabase.auth.signInWithPassword(credentials);
  if (error) throw error;
  $('user').textContent = data.user.id;
});

on('open', 'submit', async (form) => {
  project = String(form.get('project'));
  const versions = [];
  for await (const item of allItems((cursor) =>
    storage.listGenerations(project, { limit: 1, cursor }),
  )) {
    versions.push(`v${item.version} ${item.status}`);
  }
  show('versions', versions, () => {});
  const { items } = await storage.listFiles(project, 2);
  show(
    'files',
    items.map(({ path }) => path),
    async (path) => {
      const blob = await storage.getFile(project, 2, path);
      $('content').textContent = `${blob.type.split(';')[0]}\n${await blob.text()}`;
    },
  );
});

on('diff', 'click', async () => {
  const diff = await storage.diffGenerations(project, { from: 1, to: 2, unified: true });
  $('unified').textContent = diff.unified;
});

on('zip', 'click', async () => {
  const link = document.createElement('a');
  link.href = (await storage.downloadGeneration(project, 2, { format: 'zip' })).url;
  link.textContent = 'Download';
  $('link').replaceChildren(link);
});

on('delete', 'click', async () => {
  await storage.deleteGeneration(project, 1);
  $('versions').textContent = 'deleted';
});
