import { existsSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type BackendName, useBackend } from '../../src/runtime/backend.ts';
import { probeBackend } from '../../src/runtime/setup/probe.ts';
import { temporaryFolder } from '../weights/temporary.ts';
import { swiftshaderEnv } from './swiftshader.ts';

// How backends are chosen and refused. That each computes is in backend.test.ts.

process.env.FLORENCE2_CACHE = temporaryFolder();

async function failure(name: string): Promise<Error> {
  return useBackend(name as BackendName).then(
    () => assert.unreachable('it should have failed') as never,
    (error: Error) => error,
  );
}

test('a backend that does not exist', async () => {
  const error = await failure('metal');
  assert.is(error.name, 'UsageError');
  assert.is(error.message, 'Unknown backend "metal". Choose one of auto, tensorflow, webgpu, wasm, cpu.');
});

test('a backend that is not set up says how to', async () => {
  const error = await failure('tensorflow');
  assert.is(error.name, 'Florence2Error');
  assert.is(
    error.message,
    'Backend tensorflow cannot run here: TensorFlow is not set up: run "florence2 setup tensorflow".',
  );
});

test('auto takes the first that works and tells of those before it', async () => {
  const { name, passedOver } = await useBackend('auto');
  const order = ['tensorflow', 'webgpu', 'wasm', 'cpu'];
  assert.equal(
    passedOver.map(other => other.name),
    order.slice(0, order.indexOf(name)),
  );
  for (const { name, reason } of passedOver) {
    assert.ok(reason.length > 10 && !reason.includes('\n'), `${name}: "${reason}" is no reason in one line`);
  }
  assert.match(passedOver[0]!.reason, 'florence2 setup tensorflow');
});

const swiftshader = swiftshaderEnv();
const withSwiftshader = swiftshader && !existsSync('/dev/dri') ? test : test.skip;

withSwiftshader('auto passes a software adapter over, and one who asks for it by name gets it', async () => {
  assert.is((await probeBackend('auto', swiftshader)).chosen, 'wasm');
  const named = await probeBackend('webgpu', swiftshader);
  assert.ok(named.works, named.description);
  assert.match(named.description, /swiftshader/i);
});

test.run();
