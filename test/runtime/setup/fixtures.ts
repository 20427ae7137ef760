import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import * as assert from 'uvu/assert';
import { Florence2Error } from '../../../src/errors.ts';
import { bindingPath, type TensorflowBuild } from '../../../src/runtime/builds.ts';
import { temporaryFolder } from '../../weights/temporary.ts';

/** The manifest of a TensorFlow build that this machine can use. */
export const manifest: TensorflowBuild = {
  layout: 7,
  tensorflow: '2.21.0',
  variant: 'cpu',
  tfjsNode: '4.22.0',
  platform: process.platform,
  arch: process.arch,
  sources: [],
  cuda: {},
};

/** Creates a build in `folder`: the text of its manifest, and a binding that does not load. */
export function placeBuild(folder: string, text = JSON.stringify(manifest)): void {
  mkdirSync(dirname(bindingPath(folder)), { recursive: true });
  writeFileSync(join(folder, 'manifest.json'), text);
  writeFileSync(bindingPath(folder), 'not a library');
}

/** Returns a compiler that runs a shell script. */
export function fakeCompiler(script: string): string {
  const path = join(temporaryFolder(), 'cc');
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

/** Returns the message of the Florence2Error that a promise must reject with. */
export function messageOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => assert.unreachable('it should have failed') as never,
    (error: Error) => {
      assert.instance(error, Florence2Error, error.stack);
      return error.message;
    },
  );
}
