import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { makeTarGz } from './tar.ts';

/** A manifest as the Python system wrote it. */
export function oldManifest(ref: Ref, files: Record<string, string>): string {
  const sizes = Object.values(files).map((text) => Buffer.byteLength(text));
  return JSON.stringify({
    generation_id: ref.generationId,
    project_id: ref.projectId,
    version: ref.version,
    created_at: '2024-05-01T10:00:00',
    file_count: sizes.length,
    total_size_bytes: sizes.reduce((sum, size) => sum + size, 0),
    files: Object.keys(files),
    metadata: { prompt: `of ${ref.generationId}` },
  });
}

type Ref = { projectId: string; version: number; generationId: string };

/** Writes generations as the Python system left them. */
export class PythonStore {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  /** In a folder of its own; `more` lies there too, by its path in that folder. */
  versioned(ref: Ref, files: Record<string, string>, more: Record<string, string> = {}): string {
    const folder = join(this.root, ref.projectId, 'generations', nameOf(ref));
    this.write(folder, { 'manifest.json': oldManifest(ref, files), ...more });
    this.write(join(folder, 'source'), files);
    return folder;
  }

  /** Files beside each other, without a manifest. */
  flat(projectId: string, files: Record<string, string>): void {
    this.write(join(this.root, projectId), files);
  }

  /** Its folder packed, with one folder around everything, and gone. */
  archived(ref: Ref, files: Record<string, string>): void {
    const name = nameOf(ref);
    const entries = Object.entries(files).map(([path, content]) => ({
      name: `${name}/source/${path}`,
      content,
    }));
    const manifest = { name: `${name}/manifest.json`, content: oldManifest(ref, files) };
    const folder = join(this.root, ref.projectId, 'archive');
    mkdirSync(folder, { recursive: true });
    const top = { name: `${name}/`, type: '5' };
    writeFileSync(join(folder, `${name}.tar.gz`), makeTarGz([top, manifest, ...entries]));
  }

  activate(ref: Ref): void {
    symlinkSync(nameOf(ref), join(this.root, ref.projectId, 'generations/active'));
  }

  write(folder: string, files: Record<string, string>): void {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), text);
    }
  }
}

function nameOf({ version, generationId }: Ref): string {
  return `v${version}__${generationId}`;
}
