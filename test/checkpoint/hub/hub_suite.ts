import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, type Test } from 'uvu';
import * as assert from 'uvu/assert';
import { findCheckpoint } from '../../../src/checkpoint/find.ts';
import type { HubOptions } from '../../../src/checkpoint/hub/download_model.ts';
import { Florence2Error } from '../../../src/errors.ts';
import { reference } from '../../reference.ts';
import { HubServer } from './hub_server.ts';

/** What each test of a hub has. */
export interface HubContext {
  hub: HubServer;
  cache: string;
}

/** Returns a value as the content of a JSON file. */
export const text = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
/** Weights of a tiny checkpoint. */
export const model = new Uint8Array(readFileSync(reference('model/tiny-pad/microsoft/model.safetensors')));
const checkpoint = (): Record<string, Uint8Array> => ({
  'config.json': new Uint8Array(readFileSync(reference('model/tiny-pad/microsoft/config.json'))),
  'generation_config.json': new Uint8Array(readFileSync(reference('model/tiny-pad/microsoft/generation_config.json'))),
  'tokenizer.json': text({ model: {} }),
  'model.safetensors': model,
  'pytorch_model.bin': new Uint8Array(100),
  'README.md': text('not needed'),
  '.gitattributes': text('not needed'),
});

const variables = [
  'HF_HOME',
  'HF_HUB_CACHE',
  'HUGGINGFACE_HUB_CACHE',
  'HF_ENDPOINT',
  'HF_TOKEN',
  'HUGGING_FACE_HUB_TOKEN',
  'HF_TOKEN_PATH',
  'HF_HUB_OFFLINE',
];
const before = Object.fromEntries(variables.map(name => [name, process.env[name]]));

/** Returns a suite with a hub and an empty cache for each test. */
export function hubSuite(name: string): Test<HubContext> {
  const test = suite<HubContext>(name, {} as HubContext);
  test.before.each(async context => {
    for (const name of variables) delete process.env[name];
    context.cache = mkdtempSync(join(tmpdir(), 'florence2-hub-'));
    context.hub = new HubServer(checkpoint());
    process.env.HF_HOME = context.cache;
    process.env.HF_ENDPOINT = await context.hub.start();
  });

  test.after.each(async ({ hub, cache }) => {
    await hub.stop();
    rmSync(cache, { recursive: true, force: true });
    for (const name of variables) {
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    }
  });
  return test;
}

/** Finds a checkpoint on the hub. Retries without a pause. */
export const load = (id: string, options: HubOptions = {}) => findCheckpoint(id, { retryDelay: 1, ...options });

/** Returns the message of the error of `load`. */
export async function refusal(id: string, options?: HubOptions): Promise<string> {
  const error = await load(id, options).then(
    folder => assert.unreachable(`resolved to ${folder}`),
    reason => reason,
  );
  assert.instance(error, Florence2Error);
  assert.not.match(error.message, /\n/);
  return error.message;
}

/** Returns the warnings printed while a promise is pending. */
export async function warningsOf(action: () => Promise<unknown>): Promise<string[]> {
  const { warn } = console;
  const printed: string[] = [];
  console.warn = (message: string) => void printed.push(message);
  try {
    await action();
  } finally {
    console.warn = warn;
  }
  return printed;
}
