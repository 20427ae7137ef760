import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findInputs } from '../../src/cli/inputs.ts';
import { Florence2Error, UsageError } from '../../src/errors.ts';
import { decodeImage } from '../../src/image/decode.ts';

const scene = 'docs/scenes/scene-1.png';

/** Runs a function while standard input is this stream. */
async function withStdin<T>(stdin: Readable | { isTTY: boolean }, fn: () => Promise<T>): Promise<T> {
  const original = Object.getOwnPropertyDescriptor(process, 'stdin')!;
  Object.defineProperty(process, 'stdin', { value: stdin, configurable: true });
  try {
    return await fn();
  } finally {
    Object.defineProperty(process, 'stdin', original);
  }
}

const failure = (args: string[], stdin: Readable | { isTTY: boolean }): Promise<Error> =>
  withStdin(stdin, () => findInputs(args)).then(() => assert.unreachable(), error => error); // biome-ignore format: one line

test('- is the image on standard input, in its place among the others', async () => {
  const bytes = readFileSync(scene);
  const chunks = [bytes.subarray(0, 100), bytes.subarray(100)];
  const inputs = await withStdin(Readable.from(chunks), () => findInputs(['docs/scenes/scene-2.png', '-']));
  assert.equal(inputs.map(({ name, output }) => [name, output]), [['docs/scenes/scene-2.png', 'scene-2'], ['-', 'stdin']]); // biome-ignore format: one line
  assert.equal(await decodeImage(inputs[1].source), await decodeImage(scene));
});

test('standard input that is named twice, empty or a terminal is an error', async () => {
  const twice = await failure(['-', scene, '-'], Readable.from([]));
  assert.instance(twice, UsageError);
  assert.match(twice.message, /^- is given twice/);
  const empty = await failure(['-'], Readable.from([]));
  assert.instance(empty, Florence2Error);
  assert.is(empty.message, 'Standard input is empty.');
  const terminal = await failure(['-'], { isTTY: true });
  assert.instance(terminal, UsageError);
  assert.match(terminal.message, /which is a terminal/);
});

test('errors about the image name standard input', async () => {
  const [{ source }] = await withStdin(Readable.from([Buffer.from('no image')]), () => findInputs(['-']));
  const error = await decodeImage(source).catch(error => error);
  assert.match(error.message, /^Standard input /);
});

test.run();
