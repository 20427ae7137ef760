import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Florence2Error } from '../../src/errors.ts';
import { polygonsToMask } from '../../src/geometry/masks.ts';
import { compressCounts, decodeRle, decompressCounts, encodeRle } from '../../src/geometry/rle.ts';
import { referenceJson } from '../reference.ts';

const { cases } = referenceJson('processor/masks.json');

test("run lengths and COCO's string round-trip", () => {
  assert.ok(cases.length >= 30);
  for (const { id, image_size, rle_counts, rle, coco_polygon } of cases) {
    const size: [number, number] = [image_size[1], image_size[0]];
    assert.is(compressCounts(rle_counts), rle, id);
    assert.equal(decompressCounts(rle), rle_counts, id);
    assert.equal(encodeRle(decodeRle({ size, counts: rle_counts })), { size, counts: rle_counts }, id);
    if (!coco_polygon) continue;
    const counts = decompressCounts(coco_polygon.rle);
    assert.is(compressCounts(counts), coco_polygon.rle, id);
    assert.is(
      decodeRle({ size, counts }).data.reduce((a: number, b: number) => a + b, 0),
      coco_polygon.area,
      id,
    );
  }
});

test('a mask with its first pixel set starts with a run of 0 zeros', () => {
  const mask = polygonsToMask([[0, 0, 2, 0, 2, 1, 0, 1]], { width: 3, height: 2 });
  assert.equal(encodeRle(mask), { size: [2, 3], counts: [0, 6] });
});

test('invalid run lengths are refused', () => {
  const cases: [call: () => unknown, message: RegExp][] = [
    [() => decodeRle({ size: [2, 3], counts: [1, 2] }), /^Run lengths of 3 pixels do not fill a mask of 3x2\.$/],
    [() => decompressCounts('0Ph'), /is not a run-length string/],
    [() => decompressCounts('é'), /is not a run-length string/],
  ];
  for (const [call, message] of cases) {
    assert.throws(call, (e: unknown) => e instanceof Florence2Error && message.test(e.message), String(message));
  }
});

test('masks that are too large are refused before they are allocated', () => {
  const size: [number, number] = [1e5, 1e6];
  assert.throws(
    () => decodeRle({ size, counts: [1e11] }),
    /A mask of 1000000x100000 is larger than the limit of 268435456 pixels/,
  );
});

test.run();
