import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { buildFolder } from '../../../src/runtime/builds.ts';
import { Http } from '../../../src/runtime/setup/http.ts';
import { tensorflowProject, thisMachine } from '../../../src/runtime/setup/machine.ts';
import { nodeHeaders, placePackage } from '../../../src/runtime/setup/npm_packages.ts';
import { type SetupOptions, setupTensorflow } from '../../../src/runtime/setup/setup_tensorflow.ts';
import { temporaryFolder } from '../../weights/temporary.ts';
import { makeTarball, makeZip } from './archives.ts';
import { fakeCompiler, messageOf, placeBuild } from './fixtures.ts';
import { LocalIndex } from './local_index.ts';

// The case of success, with the real TensorFlow, is setup_tensorflow.slow.test.ts.

const machine = thisMachine();
let project = 'tensorflow';
let flow: typeof test | typeof test.skip = test;
try {
  project = tensorflowProject(machine, 'cpu');
} catch {
  flow = test.skip; // a machine that TensorFlow is not built for
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

/** Names in the cache, but for the downloads. */
const left = () => readdirSync(cache).filter(name => name !== 'downloads');
const downloads = () => (existsSync(join(cache, 'downloads')) ? readdirSync(join(cache, 'downloads')) : []);

flow('without a compiler nothing is downloaded', async () => {
  process.env.CXX = '/no/such/compiler';
  assert.match(await failure(), 'A C++17 compiler is missing');
  assert.equal(index.requests, []);
  assert.equal(left(), []);
});

flow('no wheel for this platform', async () => {
  index.project(project, [{ file: `${project.replace('-', '_')}-2.21.0-cp313-cp313-win_amd64.whl`, body: wheel }]);
  assert.match(await failure(), `No wheel of ${project} ==2.21.0 runs on`);
  assert.equal(left(), []);
});

flow('a release that the index does not have', async () => {
  index.project(project, [{ file: wheelName, body: wheel }]);
  assert.match(await failure({ tensorflow: '2.99.0' }), 'It has 2.21.0');
  assert.match(await failure({ tensorflow: 'newest' }), '"newest" is no TensorFlow release');
});

flow('a wheel with other bytes than those published leaves nothing', async () => {
  index.project(project, [{ file: wheelName, body: wheel, sha256: '0'.repeat(64) }]);
  assert.match(await failure(), `${wheelName} from ${index.url}`);
  assert.equal(left(), []);
  assert.equal(downloads(), []);
});

flow('a cut connection is continued; what fails later keeps the download for the next run', async () => {
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
    'the wheel is there',
  );
});

flow('a wheel that holds no TensorFlow', async () => {
  index.project(project, [{ file: wheelName, body: makeZip([{ name: 'x', body: 'x' }]) }]);
  assert.match(await failure(), 'holds none of the files that are needed');
  assert.equal(left(), []);
});

flow('an npm package with other bytes than those pinned is refused', async () => {
  index.project(project, [{ file: wheelName, body: wheel }]);
  const tarball = makeTarball([{ name: 'package/package.json', body: '{}' }]);
  index.file('/npm/t.tgz', tarball);
  const version = { dist: { tarball: `${index.url}/npm/t.tgz` } };
  index.page('/npm/@tensorflow%2ftfjs-node', JSON.stringify({ versions: { '4.22.0': version } }), 'application/json');
  assert.match(await failure(), /tensorflow-tfjs-node-4\.22\.0\.tgz .* is not what was published: its sha512/);
  assert.equal(left(), []);
});

flow('an npm package whose release the registry does not have', async () => {
  index.page('/npm/node-api-headers', JSON.stringify({ versions: {} }), 'application/json');
  const http = new Http();
  const config = { registry: () => `${index.url}/npm/`, headers: () => ({}) };
  const placed = placePackage(http, config, nodeHeaders, join(cache, 'x'), join(cache, 'downloads'));
  const message = await placed.catch((error: Error) => error.message);
  await http.close();
  assert.match(message, `The npm registry ${index.url}/npm/ has no node-api-headers`);
});

flow('two setups at once: the second says so', async () => {
  writeFileSync(join(cache, 'setup.lock'), String(process.ppid));
  assert.match(await failure(), `Another setup is running (process ${process.ppid})`);
  assert.equal(left(), ['setup.lock'], 'the lock of the other stays');
});

flow('what a killed setup has left is cleared away', async () => {
  writeFileSync(join(cache, 'setup.lock'), '999999999');
  mkdirSync(join(cache, 'staging-999999999/tensorflow'), { recursive: true });
  assert.match(await failure(), 'No wheel of');
  assert.equal(left(), []);
});

flow('a build that does not run any more is made again', async () => {
  const folder = buildFolder('2.21.0', 'cpu');
  placeBuild(folder);
  assert.match(await failure(), 'No wheel of');
  assert.ok(existsSync(folder), 'until a new one is ready the old one stays');
});

test('a package that is installed is copied, not downloaded', async () => {
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
  [[{ platform: 'win32', arch: 'x64' }, 'cpu'], /no libraries to link to for win32 x64.*webgpu and wasm/],
  [
    [{ platform: 'darwin', arch: 'x64', macos: '14.0' }, 'cpu'],
    /for darwin x64, only for linux x64, linux arm64 and darwin arm64/,
  ],
  [[{ platform: 'linux', arch: 'riscv64', glibc: '2.40' }, 'cpu'], /for linux riscv64/],
  [
    [{ platform: 'linux', arch: 'arm64', glibc: '2.40' }, 'gpu'],
    /CUDA is built for linux x64 only, and this is linux arm64/,
  ],
  [[{ platform: 'darwin', arch: 'arm64', macos: '14.0' }, 'gpu'], /CUDA is built for linux x64 only/],
];
for (const [[where, variant], pattern] of unsupported) {
  test(`${where.platform} ${where.arch} ${variant} is not supported, and the message says what is`, () => {
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
  test(`${where.platform} ${where.arch} ${variant} takes ${name}`, () =>
    assert.is(tensorflowProject(where, variant), name));
}

test.run();
