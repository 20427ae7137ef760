import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { semanticMap } from '../../src/results/semantic.ts';

const square = (x1: number, y1: number, x2: number, y2: number) => [x1, y1, x2, y1, x2, y2, x1, y2];

test('classes by index, the smaller of overlapping instances on top', () => {
  const instances = [
    { label: 'window', polygons: [square(1, 1, 2, 2)] },
    { label: 'house', polygons: [square(0, 0, 3, 3)] },
    { label: 'window', polygons: [square(4, 0, 4, 1), square(4, 3, 4, 3)] },
  ];
  const map = semanticMap(instances, { width: 5, height: 4 }, ['house', 'window', 'door']);
  assert.equal(map.classes, ['background', 'house', 'window', 'door']);
  // biome-ignore format: rows of the map
  assert.equal([...map.data], [
    1, 1, 1, 1, 2,
    1, 2, 2, 1, 2,
    1, 2, 2, 1, 0,
    1, 1, 1, 1, 2,
  ]);
  assert.equal(semanticMap(instances, { width: 5, height: 4 }).classes, ['background', 'window', 'house']);
});

test('refuses unknown labels and too many classes', () => {
  const size = { width: 1, height: 1 };
  assert.throws(
    () => semanticMap([{ label: 'dog', polygons: [] }], size, ['cat']),
    /"dog" is not among the classes: cat/,
  );
  const many = Array.from({ length: 256 }, (_, i) => String(i));
  assert.throws(() => semanticMap([], size, many), /at most 255 classes, but there are 256/);
  assert.is(semanticMap([], size, many.slice(1)).classes.length, 256);
});

test.run();
