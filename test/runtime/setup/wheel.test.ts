import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Machine, parseWheelName, runsOn, satisfies } from '../../../src/runtime/setup/wheel.ts';

// Expected: the results of packaging.specifiers.SpecifierSet(requirement).contains(version).
const requirements: [version: string, requirement: string, expected: boolean][] = [
  ['2.21.0', '==2.21.0', true],
  ['2.21.0', '==2.21', true],
  ['2.21.0rc1', '==2.21.0', false],
  ['12.9.1.4', '<13.0,>=12.5.3.2', true],
  ['13.0.0', '<13.0,>=12.5.3.2', false],
  ['12.5.3.1', '<13.0,>=12.5.3.2', false],
  ['2.27.7', '<3.0,>=2.27.7', true],
  ['9.10.2.21', '<10.0,>=9.3.0.75', true],
  ['9.3.0', '>9.3.0', false],
  ['1.4.2', '~=1.4', true],
  ['2.0', '~=1.4', false],
  ['1.4.5', '~=1.4.2', true],
  ['1.5.0', '~=1.4.2', false],
  ['2.21.1', '==2.21.*', true],
  ['2.210.0', '==2.21.*', false],
  ['2.21.1', '!=2.21.*', false],
  ['2.15.0.post1', '>2.14', true],
  ['2.15.0.post1', '<=2.15.0', false],
  ['1.0', '', true],
  ['1.0', '!=1.0', false],
  ['1.10', '>1.9', true],
];
for (const [version, requirement, expected] of requirements) {
  test(`${version} ${expected ? 'satisfies' : 'does not satisfy'} "${requirement}"`, () => {
    assert.is(satisfies(version, requirement), expected);
  });
}

const debian: Machine = { platform: 'linux', arch: 'x64', glibc: '2.36' };
const centos: Machine = { platform: 'linux', arch: 'x64', glibc: '2.17' };
const alpine: Machine = { platform: 'linux', arch: 'x64' };
const graviton: Machine = { platform: 'linux', arch: 'arm64', glibc: '2.34' };
const mac: Machine = { platform: 'darwin', arch: 'arm64', macos: '14.0' };
const oldMac: Machine = { platform: 'darwin', arch: 'arm64', macos: '11.0' };
const windows: Machine = { platform: 'win32', arch: 'x64' };

// According to PEP 600 (manylinux_x_y requires glibc x.y), PEP 599, 571 and 513 (old names), and macOS's compatibility.
const tags: [tag: string, runs: Machine[], not: Machine[]][] = [
  ['manylinux_2_27_x86_64', [debian], [centos, alpine, graviton, mac, windows]],
  ['manylinux2014_x86_64', [debian, centos], [alpine, graviton]],
  ['manylinux_2_27_aarch64', [graviton], [debian, mac]],
  ['manylinux1_x86_64', [debian, centos], [alpine]],
  ['musllinux_1_2_x86_64', [], [debian, alpine]],
  ['macosx_12_0_arm64', [mac], [oldMac, debian, graviton]],
  ['macosx_10_15_universal2', [mac, oldMac], [debian]],
  ['macosx_12_0_x86_64', [], [mac]],
  ['win_amd64', [], [debian, windows]],
  ['any', [debian, mac, alpine], []],
];
for (const [tag, runs, not] of tags) {
  test(`${tag}: the machines that it runs on`, () => {
    for (const machine of runs) assert.ok(runsOn(tag, machine), JSON.stringify(machine));
    for (const machine of not) assert.not.ok(runsOn(tag, machine), JSON.stringify(machine));
  });
}

test('file names of wheels are parsed', () => {
  assert.equal(parseWheelName('tensorflow_cpu-2.21.0-cp313-cp313-manylinux_2_27_x86_64.whl'), {
    project: 'tensorflow-cpu',
    version: '2.21.0',
    python: 'cp313',
    platforms: ['manylinux_2_27_x86_64'],
  });
  const built = parseWheelName('Some.Thing-1.0-1build-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl');
  assert.equal(built?.project, 'some-thing');
  assert.equal(built?.platforms, ['manylinux_2_17_x86_64', 'manylinux2014_x86_64']);
  for (const other of ['tensorflow-2.21.0.tar.gz', '../x-1.0-py3-none-any.whl', 'x-1.0-py3-none-a/../../b.whl']) {
    assert.is(parseWheelName(other), undefined, other);
  }
});

test.run();
