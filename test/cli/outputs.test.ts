import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { drawingPaths, nameOutputs } from '../../src/cli/outputs.ts';

const cases: [what: string, images: string[], outputs: string[]][] = [
  ['one image', ['photos/a/x.png'], ['x']],
  ['a folder', ['photos/x.png', 'photos/y.jpg'], ['x', 'y']],
  ['equal names in two folders', ['a/x.png', 'b/x.png'], ['a/x', 'b/x']],
  ['a folder in another', ['a/x.png', 'a/b/x.png'], ['x', 'b/x']],
  ['outside the working directory', ['../photos/a/x.png', '/photos/b/x.png'], []],
  ['folders that begin alike', ['shots/a.png', 'shots-2/a.png'], ['shots/a', 'shots-2/a']],
  ['equal names with two extensions', ['a/x.png', 'a/x.jpg', 'a/x-2.png'], ['x', 'x-2', 'x-2-2']],
  ['URLs', ['https://a.org/p/x.png?size=2', 'https://b.org/x.png', 'data:image/png;base64,AA'], ['x', 'x-2', 'image']],
  ['a URL and a file', ['https://a.org/p/x.png', 'photos/y.png'], ['x', 'y']],
];

for (const [what, images, outputs] of cases) {
  test(`${what}: ${images.join(' ').slice(0, 60)}`, () => {
    const named = nameOutputs(images);
    if (outputs.length > 0)
      assert.equal(named, outputs.map(name => join(name))); // biome-ignore format: one line
    else assert.is(new Set(named).size, images.length);
    for (const name of named) assert.not.match(name, /^[./]/, 'inside the output folder');
  });
}

test('drawings are files of a folder, or of a PNG file', () => {
  assert.equal(drawingPaths('out', 2, ['od'])('a/x'), [join('out/a/x.od.png')]);
  assert.equal(drawingPaths('v1.2/', 2, ['od', 'ocr'])('x'), [join('v1.2/x.od.png'), join('v1.2/x.ocr.png')]);
  assert.equal(drawingPaths('docs', 1, ['od'])('x'), [join('docs/x.od.png')]);
  assert.equal(drawingPaths('o.png', 1, ['od'])('x'), ['o.png']);
  assert.equal(drawingPaths('o.png', 1, ['od', 'ocr'])('x'), ['o.od.png', 'o.ocr.png']);
});

test.run();
