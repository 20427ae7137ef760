import type { QuadCoordinates } from '../../geometry/types.ts';
import type { Quad } from '../types.ts';

/** Regions of text on one line, with their bounds in a frame in which the text is upright. */
export interface Fragment {
  left: number;
  top: number;
  right: number;
  bottom: number;
  regions: Quad[];
}

/** A frame in which text of one direction is upright: the pixels of the image, rotated about their origin. */
export class Frame {
  private readonly cos: number;
  private readonly sin: number;

  /**
   * Divides regions by their direction: rightwards, downwards, leftwards, upwards. The direction with most characters
   * comes first. The frame of each has the mean direction of its regions.
   */
  static of(quads: readonly Quad[]): { frame: Frame; fragments: Fragment[] }[] {
    const sectors = new Map<number, Quad[]>();
    for (const quad of quads) {
      const sector = (Math.round(directionOf(quad.quad) / (Math.PI / 2)) + 4) % 4;
      sectors.set(sector, [...(sectors.get(sector) ?? []), quad]);
    }
    const characters = (group: Quad[]): number => group.reduce((sum, { text }) => sum + text.length, 0);
    const groups = [...sectors.values()].sort((a, b) => characters(b) - characters(a));
    return groups.map(group => {
      const [x, y] = group.map(({ quad }) => textVector(quad)).reduce((a, b) => [a[0] + b[0], a[1] + b[1]]);
      const frame = new Frame(Math.atan2(y, x));
      return { frame, fragments: group.map(quad => frame.fragmentOf(quad)) };
    });
  }

  /** @param angle direction of the text in radians, clockwise as y points down */
  constructor(readonly angle: number) {
    this.cos = Math.cos(angle);
    this.sin = Math.sin(angle);
  }

  /** The direction in degrees, -180 to 180, rounded to 0.1. */
  get degrees(): number {
    return Math.round((this.angle * 1800) / Math.PI) / 10 || 0;
  }

  /** Returns the corners of a fragment in pixels of the image. */
  cornersOf({ left, top, right, bottom }: Fragment): QuadCoordinates {
    const corners = [left, top, right, top, right, bottom, left, bottom];
    const pixels = [0, 2, 4, 6].flatMap(i => {
      const [x, y] = [corners[i], corners[i + 1]];
      return [x * this.cos - y * this.sin, x * this.sin + y * this.cos];
    });
    return pixels as QuadCoordinates;
  }

  /** The height of a slanted line is that of its text, so neighbours of a skewed line do not overlap it. */
  private fragmentOf(quad: Quad): Fragment {
    const points = quad.quad;
    const xs = [0, 2, 4, 6].map(i => points[i] * this.cos + points[i + 1] * this.sin);
    const ys = [0, 2, 4, 6].map(i => points[i + 1] * this.cos - points[i] * this.sin);
    const [top, bottom] = [(ys[0] + ys[1]) / 2, (ys[2] + ys[3]) / 2];
    return {
      left: Math.min(...xs),
      right: Math.max(...xs),
      top: Math.min(top, bottom),
      bottom: Math.max(top, bottom),
      regions: [quad],
    };
  }
}

/** From the middle of the left edge to the middle of the right edge. */
function textVector([x1, y1, x2, y2, x3, y3, x4, y4]: QuadCoordinates): [number, number] {
  return [x2 + x3 - x1 - x4, y2 + y3 - y1 - y4];
}

const directionOf = (quad: QuadCoordinates): number => {
  const [x, y] = textVector(quad);
  return Math.atan2(y, x);
};

/**
 * Joins fragments that overlap vertically by half of the smaller height, and whose gap is at most `gap` line heights.
 *
 * @returns the lines from top to bottom
 */
export function joinLines(fragments: readonly Fragment[], gap: number): Fragment[] {
  const lines: Fragment[] = [];
  for (const fragment of [...fragments].sort((a, b) => a.left - b.left)) {
    const near = lines
      .filter(line => onOneLine(line, fragment) && fragment.left - line.right <= gap * heightOf(line))
      .sort((a, b) => b.right - a.right)[0];
    if (!near) lines.push({ ...fragment });
    else {
      near.top = Math.min(near.top, fragment.top);
      near.right = Math.max(near.right, fragment.right);
      near.bottom = Math.max(near.bottom, fragment.bottom);
      near.regions = [...near.regions, ...fragment.regions];
    }
  }
  return lines.sort((a, b) => a.top - b.top);
}

function onOneLine(a: Fragment, b: Fragment): boolean {
  const overlap = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  return overlap >= Math.min(heightOf(a), heightOf(b)) / 2;
}

const heightOf = ({ top, bottom }: Fragment): number => bottom - top;
