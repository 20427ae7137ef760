import { readdirSync } from 'node:fs';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Florence2Error } from '../../errors.ts';
import { bindingPath, cacheRoot, instructionSets, kernelsPath, stderrPath } from '../builds.ts';
import { type Addon, type Command, compileAddon } from './compiler.ts';
import type { OnBytes } from './download.ts';
import { tfjsNode } from './npm_packages.ts';

/**
 * Compiles the addons of a build: stderr.node, tfjs-node's binding and our kernels.
 *
 * @param folder the build's folder, which already contains TensorFlow's libraries and tfjs-node
 * @param includes folders with the headers of Node and TensorFlow
 * @param report returns the progress callback for a file
 * @throws Florence2Error if the binding does not compile
 */
export async function compileAddons(
  compiler: Command,
  folder: string,
  includes: string[],
  report: (file: string) => OnBytes,
): Promise<void> {
  const libraries = join(folder, 'site/tensorflow');
  const binding = join(folder, 'node_modules', tfjsNode.name, 'binding');
  const log = join(cacheRoot(), 'compile.log');
  const onProgress = report('tfjs_binding.node');
  onProgress(0, 1);
  const source = join(folder, 'stderr.cc');
  await writeFile(source, stderrAddon);
  await compileAddon(compiler, { sources: [source], output: stderrPath(folder), includes }, log);
  await rm(source);
  const tfjs = {
    sources: ['tfjs_backend.cc', 'tfjs_binding.cc'].map(name => join(binding, name)),
    output: bindingPath(folder),
    includes,
    libraries: { folder: libraries, names: readdirSync(libraries).filter(name => /^libtensorflow_/.test(name)) },
  };
  await compileAddon(compiler, tfjs, log);
  await rm(log, { force: true });
  onProgress(1, 1);
  await compileKernels(compiler, folder, tfjs, log, report);
}

/**
 * Compiles our kernels for each instruction set. Failures are ignored: TensorFlow's own, slower kernels are used then.
 */
async function compileKernels(
  compiler: Command,
  build: string,
  { includes, libraries }: Addon,
  log: string,
  report: (file: string) => OnBytes,
): Promise<void> {
  const folder = fileURLToPath(new URL('../../../src/runtime/kernels', import.meta.url));
  const sources = (await readdir(folder)).filter(name => name.endsWith('.cc')).map(name => join(folder, name));
  for (const [set, flags] of instructionSets()) {
    const output = kernelsPath(build, set);
    const onProgress = report(basename(output));
    onProgress(0, 1);
    try {
      await compileAddon(compiler, { sources, output, includes, flags: ['-O3', ...flags], libraries }, log);
    } catch (error) {
      if (!(error instanceof Florence2Error)) throw error;
    }
    onProgress(1, 1);
  }
}

/**
 * C++ source of an addon that mutes the process's stderr at the file descriptor, which Node's streams cannot do.
 * TensorFlow prints to it while its library loads, before it reads TF_CPP_MIN_LOG_LEVEL.
 */
export const stderrAddon = `
#include <fcntl.h>
#include <node_api.h>
#include <unistd.h>

static int saved = -1;

static napi_value Mute(napi_env, napi_callback_info) {
  int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (saved < 0 && null >= 0) {
    saved = dup(STDERR_FILENO);
    if (saved >= 0) dup2(null, STDERR_FILENO);
  }
  if (null >= 0) close(null);
  return nullptr;
}

static napi_value Unmute(napi_env, napi_callback_info) {
  if (saved >= 0) {
    dup2(saved, STDERR_FILENO);
    close(saved);
    saved = -1;
  }
  return nullptr;
}

NAPI_MODULE_INIT() {
  napi_value function;
  napi_create_function(env, "mute", NAPI_AUTO_LENGTH, Mute, nullptr, &function);
  napi_set_named_property(env, exports, "mute", function);
  napi_create_function(env, "unmute", NAPI_AUTO_LENGTH, Unmute, nullptr, &function);
  napi_set_named_property(env, exports, "unmute", function);
  return exports;
}
`;
