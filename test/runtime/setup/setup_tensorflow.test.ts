import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { withLock } from '../../../src/files/lock.ts';
import { buildFolder } from '../../../src/runtime/builds.ts';
import { Http } from '../../../src/runtime/setup/http.ts';
import { tensorflowProject, thisMachine } from '../../../src/runtime/setup/machine.ts';
import { nodeHeaders, placePackage } from '../../../src/runtime/setup/npm_packages.ts';
import { type SetupOptions, setupTensorflow } from '../../../src/runtime/setup/setup_tensorflow.ts';
import { temporaryFolder } from '../../weights/temporary.ts';
import { makeTarball, makeZip } from './archives.ts';
import { fakeCompiler, messageOf, placeBuild } from './fixtures.ts';
import { LocalIndex } from './local_index.ts';

// Failures. setup_tensorflow.slow.test.ts tests a successful setup with the real TensorFlow.

const machine = thisMachine();
let project = 'tensorflow';
let flow: typeof test | typeof test.skip = test;
try {
  project = tensorflowProject(machine, 'cpu');
} catch {
  flow = test.skip; // TensorFlow is not available for this machine
}
const platform =
  process.platform === 'darwin'
    ? 'macosx_11_0_arm64'
    : `manylinux_2_17_${process.arch === 'x64' ? 'x86_64' : 'aarch64'}`;
const wheelName = `${project.replace('-', '_')}-2.21.0-cp313-cp313-${platform}.whl`;
const wheel = makeZip([
  { name: 'tensorflow/libtensorflow_cc.so.2', body: 'not a library'.repeat(20_000) },
  { name: 'tensorflow/libtensorflow_framework.so.2', body: 'not a library' },
  { name: 'tensorflow/include/tensorflow/c/c_api.h', body: '' },
]);

let index: LocalIndex;
let cache: string;
const before = { ...process.env };
test.before.each(async () => {
  index = await LocalIndex.start();
  cache = temporaryFolder();
  Object.assign(process.env, {
    FLORENCE2_CACHE: cache,
    PIP_CONFIG_FILE: '/dev/null',
    PIP_INDEX_URL: `${index.url}/simple`,
    PIP_FIND_LINKS: '',
    NPM_CONFIG_USERCONFIG: join(cache, 'none'),
    NPM_CONFIG_REGISTRY: `${index.url}/npm/`,
    CXX: fakeCompiler('exit 0'),
  });
});
test.after.each(async () => {
  await index.stop();
  for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name];
  Object.assign(process.env, before);
});

const failure = (options: SetupOptions = {}): Promise<string> => messageOf(setupTensorflow(options));

/** Names in the cache folder, except downloads. */
const left = () => readdirSync(cache).filter(name => name !== 'downloads');
const downloads = () => (existsSync(join(cache, 'downloads')) ? readdirSync(join(cache, 'downloads')) : []);

flow('no compiler: nothing is downloaded', async () => {
  process.env.CXX = '/no/such/compiler';
  assert.match(await failure(), 'No working C++17 compiler was found');
  assert.equal(index.requests, []);
  assert.equal(left(), []);
});

flow('no wheel for this platform', async () => {
  index.project(project, [{ file: `${project.replace('-', '_')}-2.21.0-cp313-cp313-win_amd64.whl`, body: wheel }]);
  assert.match(await failure(), `No wheel of ${project} ==2.21.0 runs on`);
  assert.equal(left(), []);
});

flow('releases that do not exist', async () => {
  index.project(project, [{ file: wheelName, body: wheel }]);
  assert.match(await failure({ tensorflow: '2.99.0' }), 'Available: 2.21.0');
  assert.match(await failure({ tensorflow: 'newest' }), '"newest" is not a TensorFlow release (try 2.21.0).');
});

flow('a wheel with a wrong hash leaves no files', async () => {
  index.project(project, [{ file: wheelName, body: wheel, sha256: '0'.repeat(64) }]);
  assert.match(await failure(), `${wheelName} from ${index.url}`);
  assert.equal(left(), []);
  assert.equal(downloads(), []);
});

flow('an interrupted download is resumed; after a later failure the next run reuses it', async () => {
  index.project(project, [{ file: wheelName, body: wheel, cuts: 1 }]);
  assert.match(await failure(), /npm\/@tensorflow%2ftfjs-node answered 404/);
  assert.equal(index.requests.filter(request => /bytes=\d+-$/.test(request)).length, 1);
  assert.equal(left(), []);
  assert.equal(downloads().length, 1);
  index.requests.length = 0;
  assert.match(await failure(), /npm\/@tensorflow%2ftfjs-node answered 404/);
  assert.equal(
    index.requests.filter(request => request.includes('/files/')),
    [],
    'the wheel is not downloaded again',
  );
});

flow('a wheel without TensorFlow', async () => {
  index.project(project, [{ file: wheelName, body: makeZip([{ name: 'x', body: 'x' }]) }]);
  assert.match(await failure(), 'contains none of the required files');
  assert.equal(left(), []);
});

flow('an npm package with a wrong hash is refused', async () => {
  index.project(project, [{ file: wheelName, body: wheel }]);
  const tarball = makeTarball([{ name: 'package/package.json', body: '{}' }]);
  index.file('/npm/t.tgz', tarball);
  const version = { dist: { tarball: `${index.url}/npm/t.tgz` } };
  index.page('/npm/@tensorflow%2ftfjs-node', JSON.stringify({ versions: { '4.22.0': version } }), 'application/json');
  assert.match(await failure(), /tensorflow-tfjs-node-4\.22\.0\.tgz .* is not the published file: its sha512/);
  assert.equal(left(), []);
});

flow('an npm package version that the registry does not have', async () => {
  index.page('/npm/node-api-headers', JSON.stringify({ versions: {} }), 'application/json');
  const http = new Http();
  const config = { registry: () => `${index.url}/npm/`, headers: () => ({}) };
  const placed = placePackage(http, config, nodeHeaders, join(cache, 'x'), join(cache, 'downloads'));
  const message = await placed.catch((error: Error) => error.message);
  await http.close();
  assert.match(message, `The npm registry ${index.url}/npm/ has no node-api-headers`);
});

flow('a second setup at the same time is refused', async () => {
  await withLock(join(cache, 'setup.lock'), 'setup', async () => {
    assert.match(await failure(), `Another setup is running (process ${process.pid})`);
    assert.equal(left(), ['setup.lock'], 'the lock of the first setup is kept');
  });
});

flow('the leftovers of a killed setup are removed', async () => {
  writeFileSync(join(cache, 'setup.lock'), JSON.stringify({ pid: 999_999_999, host: hostname(), started: null }));
  mkdirSync(join(cache, 'staging-999999999/tensorflow'), { recursive: true });
  assert.match(await failure(), 'No wheel of');
  assert.equal(left(), []);
});

flow('a build that no longer runs is replaced', async () => {
  const folder = buildFolder('2.21.0', 'cpu');
  placeBuild(folder);
  assert.match(await failure(), 'No wheel of');
  assert.ok(existsSync(folder), 'the old build is kept until the new one is ready');
});

test('an installed package is copied, not downloaded', async () => {
  const { version } = createRequire(import.meta.url)('yauzl/package.json');
  const http = new Http();
  const config = { registry: () => `${index.url}/npm/`, headers: () => ({}) };
  const folder = join(cache, 'node_modules/yauzl');
  await placePackage(http, config, { name: 'yauzl', version, integrity: 'sha512-' }, folder, join(cache, 'downloads'));
  await http.close();
  assert.equal(index.requests, []);
  assert.ok(existsSync(join(folder, 'package.json')));
});

const unsupported: [Parameters<typeof tensorflowProject>, RegExp][] = [
  [[{ platform: 'linux', arch: 'x64' }, 'cpu'], /GNU C library.*musl/],
  [[{ platform: 'win32', arch: 'x64' }, 'cpu'], /available for linux x64, .*this machine is win32 x64.*webgpu or wasm/],
  [
    [{ platform: 'darwin', arch: 'x64', macos: '14.0' }, 'cpu'],
    /for linux x64, linux arm64 and darwin arm64; this machine is darwin x64/,
  ],
  [[{ platform: 'linux', arch: 'riscv64', glibc: '2.40' }, 'cpu'], /this machine is linux riscv64/],
  [
    [{ platform: 'linux', arch: 'arm64', glibc: '2.40' }, 'gpu'],
    /CUDA is available for linux x64 only; this machine is linux arm64/,
  ],
  [[{ platform: 'darwin', arch: 'arm64', macos: '14.0' }, 'gpu'], /CUDA is available for linux x64 only/],
];
for (const [[where, variant], pattern] of unsupported) {
  test(`${where.platform} ${where.arch} ${variant} is not supported, and the message names what is`, () => {
    assert.throws(() => tensorflowProject(where, variant), pattern);
  });
}

const supported: [Parameters<typeof tensorflowProject>, string][] = [
  [[{ platform: 'linux', arch: 'x64', glibc: '2.36' }, 'cpu'], 'tensorflow-cpu'],
  [[{ platform: 'linux', arch: 'x64', glibc: '2.36' }, 'gpu'], 'tensorflow'],
  [[{ platform: 'linux', arch: 'arm64', glibc: '2.36' }, 'cpu'], 'tensorflow'],
  [[{ platform: 'darwin', arch: 'arm64', macos: '14.0' }, 'cpu'], 'tensorflow'],
];
for (const [[where, variant], name] of supported) {
  test(`${where.platform} ${where.arch} ${variant} uses ${name}`, () =>
    assert.is(tensorflowProject(where, variant), name));
}

test.run();
