import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { clipPolygon, polygonArea } from '../../src/geometry/clip.ts';
import { randomStream } from '../../src/random.ts';

type Corners = [number, number, number, number];

test('a clipped polygon covers the intersection of polygon and window', () => {
  const random = randomStream(4, 'clip');
  for (let round = 0; round < 40; round++) {
    const star = Array.from({ length: 18 }, (_, i) => {
      const radius = 8 + random() * 30;
      return [40 + radius * Math.cos((i * Math.PI) / 9), 40 + radius * Math.sin((i * Math.PI) / 9)];
    }).flat();
    const [x1, y1] = [random() * 50, random() * 50];
    const window: Corners = [x1, y1, x1 + 10 + random() * 40, y1 + 10 + random() * 40];
    const clipped = clipPolygon(star, window);
    assert.ok(clipped.every((value, i) => value >= window[i % 2] - 1e-9 && value <= window[2 + (i % 2)] + 1e-9));
    let inside = 0; // points of a fine grid, even-odd rule
    const step = 0.5;
    for (let y = window[1] + step / 2; y < window[3]; y += step) {
      for (let x = window[0] + step / 2; x < window[2]; x += step) if (contains(star, x, y)) inside += step * step;
    }
    assert.ok(
      Math.abs(polygonArea(clipped) - inside) < 15 + inside * 0.03,
      `round ${round}: ${polygonArea(clipped)}, not ${inside}`,
    );
    if (clipped.length === 0) assert.is(inside, 0);
  }
  assert.equal(clipPolygon([0, 0, 4, 0, 4, 4], [0, 0, 4, 4]), [0, 0, 4, 0, 4, 4]);
});

function contains(polygon: number[], x: number, y: number): boolean {
  let inside = false;
  for (let i = 0; i < polygon.length; i += 2) {
    const next = (i + 2) % polygon.length;
    const [x1, y1, x2, y2] = [polygon[i], polygon[i + 1], polygon[next], polygon[next + 1]];
    if (y1 > y !== y2 > y && x < x1 + ((y - y1) / (y2 - y1)) * (x2 - x1)) inside = !inside;
  }
  return inside;
}

test.run();
