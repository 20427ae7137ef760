import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ProgressBars, progressLine } from '../../src/cli/progress.ts';

const at = (done: number, total: number, seconds: number) => progressLine('Images', { done, total, unit: 'images', seconds }); // biome-ignore format: one line

const cases: [what: string, line: string, expected: RegExp][] = [
  ['at the beginning no time is known', at(0, 8, 0), /^Images ░{30} 0 of 8 images$/],
  ['after a while without any progress neither', at(0, 8, 100), /^Images ░{30} 0 of 8 images$/],
  ['a quarter in 20 s: 60 s left', at(2, 8, 20), /^Images █{7}░{23} 2 of 8 images, 1 min 0 s left$/],
  ['at the end', at(8, 8, 80), /^Images █{30} 8 of 8 images, 0 s left$/],
  ['more than was announced', at(9, 8, 80), /^Images █{30} 9 of 8 images, 0 s left$/],
  ['an unknown total', at(3.7, Number.NaN, 5), /^Images 3 images$/],
  ['an infinite total', at(3, Infinity, 5), /^Images 3 images$/],
  ['nothing to do', at(0, 0, 5), /^Images 0 images$/],
];

for (const [what, line, expected] of cases) test(what, () => assert.match(line, expected));

test('no number of a bar on a terminal is NaN or infinite', () => {
  const { stderr } = process;
  const original = { isTTY: stderr.isTTY, write: stderr.write, cursorTo: stderr.cursorTo, columns: stderr.columns };
  let shown = '';
  Object.assign(stderr, {
    isTTY: true,
    columns: 200,
    cursorTo: () => true,
    write: (text: string) => {
      shown += text;
      return true;
    },
  });
  try {
    const bars = new ProgressBars();
    bars.onProgress({ stage: 'download', file: 'a/model\x1b[2J.safetensors', loaded: 0, total: 0 });
    for (const loaded of [0, 1e6, 2e6]) bars.onProgress({ stage: 'load', loaded, total: 2e6 });
    bars.stop();
  } finally {
    Object.assign(stderr, original);
  }
  assert.match(shown, /Downloading model\\u001b\[2J\.safetensors 0 MB/);
  assert.match(shown, /Loading weights █{30} 2 of 2 MB/);
  assert.not.match(shown, /NaN|INF|Infinity|NULL/);
});

test.run();
