import type { TextBlock } from './labels.ts';
import { type Mark, RIM } from './marks.ts';
import type { Scene } from './scene.ts';

/** Returns an SVG document of a scene's outlines and of the rectangles under its labels, without the texts. */
export function shapesSvg({ image, outlines, labels }: Scene<TextBlock>): string {
  const rectangles = labels.map(
    ({ left, top, width, height, color }) =>
      `<rect x="${left}" y="${top}" width="${width}" height="${height}" rx="${height * 0.12}" fill="${color}"/>`,
  );
  const elements = [...outlines.flatMap(outlineElements), ...rectangles].join('');
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${image.width}" height="${image.height}">${elements}</svg>`;
}

/** The fill, a dark rim and the line. The rim separates the line from a background of the same colour. */
function outlineElements({ polygons, color, fill, lineWidth }: Mark): string[] {
  const paths = polygons.map(pathOf);
  // One group, so that polygons of one object that overlap are not darker. The even-odd rule leaves the holes of a
  // polygon that crosses itself unfilled, as in its mask.
  const fills = paths.map(d => `<path d="${d}"/>`).join('');
  const lines = `<path d="${paths.join('')}" fill="none" stroke-linejoin="round" stroke-linecap="round"`;
  return [
    ...(fill > 0 ? [`<g fill="${color}" fill-rule="evenodd" opacity="${fill}">${fills}</g>`] : []),
    `${lines} stroke="#000" stroke-opacity="0.35" stroke-width="${lineWidth * RIM}"/>`,
    `${lines} stroke="${color}" stroke-width="${lineWidth}"/>`,
  ];
}

/** A closed path. A single point gets a length of 0.01 pixels, because SVG draws nothing for an empty line. */
function pathOf(points: number[]): string {
  const pairs: string[] = [];
  for (let i = 0; i + 1 < points.length; i += 2) pairs.push(`${round(points[i]!)} ${round(points[i + 1]!)}`);
  if (pairs.length === 1) pairs.push(`${round(points[0]!) + 0.01} ${round(points[1]!)}`);
  return `M${pairs.join('L')}Z`;
}

const round = (value: number): number => Math.round(value * 100) / 100;
