/** The gzip whose blocks stand alone, at the edges of its blocks and of its lanes. */
import { randomBytes } from 'node:crypto';
import { gunzipSync, inflateRawSync } from 'node:zlib';
import { expect, onTestFinished, test } from 'vitest';
import { BlockGzip, blockBytesOf, type Lanes, MAX_LANES } from '../../node-agent/archive/gzip.ts';

const BLOCK_BYTES = blockBytesOf(0);

/** Half of it does not get smaller, half does. */
const noise = randomBytes(BLOCK_BYTES);
function makeInput(bytes: number): Buffer {
  const input = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at += 2 * BLOCK_BYTES) noise.copy(input, at);
  for (let at = 0; at < bytes; at += 1000) input.writeUInt8(at % 251, at);
  return input;
}

async function deflate(input: Buffer, step: number, lanes: Lanes) {
  const pieces: Buffer[] = [];
  const gzip = new BlockGzip(BLOCK_BYTES, (piece) => void pieces.push(Buffer.from(piece)), lanes);
  onTestFinished(() => gzip.close());
  for (let at = 0; at < input.length; at += step) {
    // Whoever pushes may use its memory again at once.
    const piece = Buffer.from(input.subarray(at, at + step));
    await gzip.push(piece);
    piece.fill(0);
  }
  return { ...(await gzip.end()), output: Buffer.concat(pieces) };
}

test.each([
  [0, 1],
  [1, 1],
  [BLOCK_BYTES - 1, 512],
  [BLOCK_BYTES, 512],
  [BLOCK_BYTES, BLOCK_BYTES],
  [BLOCK_BYTES + 1, 1000],
  [2 * BLOCK_BYTES, 70_000],
  [9 * BLOCK_BYTES, 3 * BLOCK_BYTES],
  [40 * BLOCK_BYTES + 17, 100_000],
  [40 * BLOCK_BYTES, 40 * BLOCK_BYTES],
])('%i bytes in pieces of %i come out again, whole and block by block', async (bytes, step) => {
  const input = makeInput(bytes);
  const all = () => MAX_LANES;
  const { output, offsets, inputBytes, outputBytes } = await deflate(input, step, all);
  let asked = 0;
  for (const lanes of [() => 0, () => 1, () => [3, MAX_LANES, 0, 1][asked++ % 4]!]) {
    expect((await deflate(input, step, lanes)).output.equals(output)).toBe(true);
  }
  expect([inputBytes, outputBytes]).toEqual([bytes, output.length]);
  expect(gunzipSync(output).equals(input)).toBe(true);
  expect(offsets).toHaveLength(Math.ceil(bytes / BLOCK_BYTES));
  for (const [i, begin] of offsets.entries()) {
    const end = offsets[i + 1] ?? output.length - 10;
    const block = inflateRawSync(Buffer.concat([output.subarray(begin, end), Buffer.from([3, 0])]));
    const expected = input.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES);
    expect(block.equals(expected), `block ${i}`).toBe(true);
  }
});

test('given up in the middle, it fails nobody', async () => {
  const gzip = new BlockGzip(
    BLOCK_BYTES,
    () => {},
    () => MAX_LANES,
  );
  for (let i = 0; i < 20; i++) await gzip.push(noise);
  gzip.close();
});

test.each([MAX_LANES, 1, 0])(
  'what cannot be written fails the packing (lanes: %s)',
  async (lanes) => {
    let written = 0;
    const write = (piece: Buffer) => {
      written += piece.length;
      if (written > BLOCK_BYTES) throw new Error('The disk is full');
    };
    const gzip = new BlockGzip(BLOCK_BYTES, write, () => lanes);
    onTestFinished(() => gzip.close());
    const packing = async () => {
      for (let i = 0; i < 20; i++) await gzip.push(noise);
      await gzip.end();
    };
    await expect(packing()).rejects.toThrow('The disk is full');
  },
);
