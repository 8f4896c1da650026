/** Archives and zips in the runtime of the functions, whose streams are not those of Node. */
import { assert, assertEquals, assertRejects } from '@std/assert';
import { inflateSync, unzipSync } from 'fflate';
import { contentTypeOf } from '../../../functions/_shared/content-type.ts';
import { entryNameOf } from '../../../functions/_shared/contract/archive-names.ts';
import { StorageError } from '../../../functions/_shared/contract/errors.ts';
import { readArchive } from '../../../functions/_shared/read-archive.ts';
import { formatUnified } from '../../../functions/_shared/unified.ts';
import { zipFiles } from '../../../functions/_shared/zip.ts';

const text = new TextEncoder();
const MAX = { bytes: 10_000_000, files: 1000 };

/** A tar of files by name, with what a reader needs of the headers. */
function makeTar(files: Record<string, Uint8Array>): Uint8Array {
  const blocks: Uint8Array[] = [];
  for (const [name, content] of Object.entries(files)) {
    const header = new Uint8Array(512);
    const write = (value: string, at: number) => header.set(text.encode(value), at);
    write(name, 0);
    write('0000755\0', 100);
    write(`${content.length.toString(8).padStart(11, '0')}\0`, 124);
    write('        0', 148);
    write('ustar\x0000', 257);
    const sum = header.reduce((total, byte) => total + byte, 0);
    write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    blocks.push(header, content, new Uint8Array((512 - (content.length % 512)) % 512));
  }
  blocks.push(new Uint8Array(1024));
  return concat(blocks);
}

function concat(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let offset = 0;
  for (const piece of pieces) {
    all.set(piece, offset);
    offset += piece.length;
  }
  return all;
}

/** A stream of pieces of a size: borders fall everywhere. */
function streamOf(bytes: Uint8Array, size: number): ReadableStream<Uint8Array> {
  let offset = 0;
  return new ReadableStream({
    pull(controller) {
      if (offset >= bytes.length) return controller.close();
      controller.enqueue(bytes.slice(offset, offset + size));
      offset += size;
    },
  });
}

async function gzip(bytes: Uint8Array): Promise<Uint8Array> {
  const packed = new Blob([bytes]).stream().pipeThrough(new CompressionStream('gzip'));
  return new Uint8Array(await new Response(packed).arrayBuffer());
}

const FILES = {
  '.codebegen/manifest.json': text.encode('{}'),
  'a.txt': text.encode('a'),
  empty: new Uint8Array(0),
  'Käse.txt': text.encode('Käse'),
  'large.bin': crypto.getRandomValues(new Uint8Array(60_000)),
  'z.txt': text.encode('z'),
  '.codebegen/artifacts/build/log': text.encode('built'),
};

async function collect(archive: Uint8Array, size: number, wanted = (_: string) => true) {
  const found: Record<string, Uint8Array> = {};
  for await (const { body, ...file } of readArchive(streamOf(archive, size), MAX)) {
    const name = entryNameOf(file);
    if (!wanted(name)) continue;
    const pieces: Uint8Array[] = [];
    for await (const piece of body) pieces.push(piece.slice());
    found[name] = concat(pieces);
  }
  return found;
}

Deno.test('an archive is read whatever the pieces it comes in', async () => {
  const archive = await gzip(makeTar(FILES));
  for (const size of [1, 7, 512, 4096, 1_000_000]) {
    assertEquals(await collect(archive, size), FILES);
  }
});

Deno.test('what is passed over takes nothing of the next file with it', async () => {
  const archive = await gzip(makeTar(FILES));
  for (const wanted of Object.keys(FILES)) {
    for (const size of [1, 100, 65_536]) {
      const found = await collect(archive, size, (name) => name === wanted);
      assertEquals(found, { [wanted]: FILES[wanted as keyof typeof FILES] });
    }
  }
});

Deno.test('an archive that ends early or is changed is corrupt', async () => {
  const archive = await gzip(makeTar(FILES));
  const flipped = archive.slice();
  flipped[flipped.length - 6]! ^= 0xff;
  for (const bad of [archive.slice(0, -20), flipped, text.encode('no gzip')]) {
    const error = await assertRejects(() => collect(bad, 1000), StorageError);
    assertEquals(error.code, 'corrupt');
  }
});

Deno.test('a zip of an archive has its files, whatever the pieces', async () => {
  const archive = await gzip(makeTar(FILES));
  for (const size of [13, 65_536]) {
    async function* files() {
      for await (const file of readArchive(streamOf(archive, size), MAX)) {
        yield { ...file, name: entryNameOf(file) };
      }
    }
    const zip = zipFiles(files(), new Date('2026-01-01T00:00:00Z'));
    assertEquals(unzipSync(new Uint8Array(await new Response(zip).arrayBuffer())), FILES);
  }
});

Deno.test('who stops reading a zip stops the reading of the archive', async () => {
  let isCancelled = false;
  const endless = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(crypto.getRandomValues(new Uint8Array(65_536))),
    cancel: () => {
      isCancelled = true;
    },
  });
  async function* files() {
    yield { name: 'a', size: 1e9, mode: 0o644, body: endless };
  }
  const reader = zipFiles(files(), new Date('2026-01-01T00:00:00Z')).getReader();
  assert((await reader.read()).value!.length > 0);
  await reader.cancel();
  assert(isCancelled);
});

Deno.test('a range of blocks inflates by itself', () => {
  // One deflate block, flushed, of "hello\n": what node-agent writes.
  const block = Uint8Array.of(0xca, 0x48, 0xcd, 0xc9, 0xc9, 0xe7, 2, 0, 0, 0, 0xff, 0xff, 3, 0);
  assertEquals(new TextDecoder().decode(inflateSync(block)), 'hello\n');
});

Deno.test('types and texts', () => {
  assertEquals(contentTypeOf('a/page.html', text.encode('<p>')), 'text/plain; charset=utf-8');
  assertEquals(contentTypeOf('a.png', Uint8Array.of(0x89, 0, 1)), 'image/png');
  assertEquals(contentTypeOf('a.txt', Uint8Array.of(0x4b, 0xe4)), 'application/octet-stream');
  const from = { mode: 0o644, text: 'a\n' };
  const patch = formatUnified([{ path: 'f', from, to: { mode: 0o644, text: 'b\n' } }]);
  assertEquals(patch, 'diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1,1 +1,1 @@\n-a\n+b\n');
});
