import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Florence2 } from '../../src/florence2.ts';
import { testBackend } from '../backend.ts';
import { tinyCheckpoint } from '../tiny_checkpoint.ts';

test('a model in a worker thread answers as in the main thread, and TensorFlow prints no messages', async () => {
  const folder = await tinyCheckpoint();
  const script = fileURLToPath(new URL('./worker.mjs', import.meta.url));
  const { TF_CPP_MIN_LOG_LEVEL, ...env } = process.env; // TensorFlow's level in the worker is that of its default
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [script, folder, testBackend], { env });
  assert.is(stderr, '');
  const model = await Florence2.load(folder, { backend: testBackend, imageSize: 64 });
  const image = { data: new Uint8Array(64 * 64 * 3), width: 64, height: 64 };
  const { answer } = await model.run(image, '<CAPTION>', { maxNewTokens: 3 });
  assert.is(JSON.parse(stdout), answer);
  model.dispose();
});

test.run();
