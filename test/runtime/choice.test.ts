import { existsSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type BackendName, useBackend } from '../../src/runtime/backend.ts';
import { probeBackend } from '../../src/runtime/setup/probe.ts';
import { temporaryFolder } from '../weights/temporary.ts';
import { swiftshaderEnv } from './swiftshader.ts';

// How backends are chosen and refused. backend.test.ts tests that each of them computes.

process.env.FLORENCE2_CACHE = temporaryFolder();

async function failure(name: string): Promise<Error> {
  return useBackend(name as BackendName).then(
    () => assert.unreachable('it should have failed') as never,
    (error: Error) => error,
  );
}

test('an unknown backend is refused', async () => {
  const error = await failure('metal');
  assert.is(error.name, 'UsageError');
  assert.is(error.message, 'Unknown backend "metal". The backends are auto, tensorflow, webgpu, wasm and cpu.');
});

test('a backend that is not set up: the message names the command', async () => {
  const error = await failure('tensorflow');
  assert.is(error.name, 'Florence2Error');
  assert.is(
    error.message,
    'Backend tensorflow cannot run here: TensorFlow is not set up: run "florence2 setup tensorflow".',
  );
});

test('auto takes the first backend that works and returns the reasons against those before it', async () => {
  const { name, passedOver } = await useBackend('auto');
  const order = ['tensorflow', 'webgpu', 'wasm', 'cpu'];
  assert.equal(
    passedOver.map(other => other.name),
    order.slice(0, order.indexOf(name)),
  );
  for (const { name, reason } of passedOver) {
    assert.ok(reason.length > 10 && !reason.includes('\n'), `${name}: "${reason}" is not a reason of one line`);
  }
  assert.match(passedOver[0]!.reason, 'florence2 setup tensorflow');
});

const swiftshader = swiftshaderEnv();
const withSwiftshader = swiftshader && !existsSync('/dev/dri') ? test : test.skip;

withSwiftshader('a software adapter is used only if webgpu is requested by name', async () => {
  assert.is((await probeBackend('auto', swiftshader)).chosen, 'wasm');
  const named = await probeBackend('webgpu', swiftshader);
  assert.ok(named.works, named.description);
  assert.match(named.description, /swiftshader/i);
});

test.run();
