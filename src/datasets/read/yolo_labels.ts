import { UsageError } from '../../errors.ts';
import { readLines } from '../../files/lines.ts';
import { boundsOf } from '../../geometry/clip.ts';
import type { BoxCoordinates, QuadCoordinates } from '../../geometry/types.ts';
import { show } from '../../show.ts';
import type { LabelledObject } from '../annotation.ts';
import { addObject, type ReadContext, type ReadImage, reporting } from '../reading.ts';

/** Class names by number; undefined for names that a problem was reported for. */
export type ClassNames = ReadonlyMap<number, string | undefined>;

interface LabelContext extends ReadContext {
  names: ClassNames;
}

/**
 * Adds the objects of a label file to its image, in fractions of width and height. A line is `class cx cy w h` for a box,
 * with a sixth number for its score, or `class x y x y x y …` for a polygon. Lines of nine numbers are polygons too,
 * unless the format is `yolo-obb`: then they are the corners of a turned box.
 */
export async function readLabels(file: string, image: ReadImage, context: LabelContext): Promise<void> {
  const { onProblem } = context;
  const kinds = new Set<boolean>();
  for await (const { line, text } of readLines(file)) {
    const source = `${file}:${line}`;
    reporting(source, onProblem, () => {
      const object = readLabel(text, context);
      if (!object) return;
      kinds.add(object.polygons !== undefined);
      if (object.score !== undefined) {
        const message = `The line has six numbers: the last, ${object.score}, is read as a score.`;
        onProblem({ severity: 'warning', source, message });
      }
      addObject(image, object, source, onProblem);
    });
  }
  if (kinds.size < 2) return;
  const message = 'The file has boxes and polygons: Ultralytics leaves such an image out.';
  onProblem({ severity: 'warning', source: file, message });
}

/** The tools that write these files round numbers, which may end slightly outside the image. */
const TOLERANCE = 0.01;

/** Returns undefined for a class whose name a problem was reported for. */
function readLabel(text: string, { names, format }: LabelContext): LabelledObject | undefined {
  const words = text.split(/\s+/);
  const number = Number(words[0]);
  const values = words.slice(1).map(Number);
  if (!names.has(number)) throw new UsageError(`The class of ${show(text)} is not among the ${names.size} names.`);
  const wrong = values.findIndex(value => !Number.isFinite(value));
  if (wrong >= 0) throw new UsageError(`${show(words[wrong + 1])} is not a number.`);
  const outside = values.find(value => value < -TOLERANCE || value > 1 + TOLERANCE);
  if (outside !== undefined) {
    const message = outside < 0 ? 'It is negative.' : 'Are these pixels?';
    throw new UsageError(`${outside} is not a fraction of the image's width or height, 0 to 1. ${message}`);
  }
  const label = names.get(number);
  if (values.length === 4 || values.length === 5) {
    const [cx, cy, w, h, score] = values;
    if (w < 0 || h < 0) throw new UsageError(`The box ${values.join(' ')} has a negative width or height.`);
    const box: BoxCoordinates = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2];
    return label === undefined ? undefined : { label, box, ...(score !== undefined && { score }) };
  }
  if (values.length < 6 || values.length % 2 !== 0) {
    throw new UsageError(
      `The line has ${values.length + 1} numbers, expected class cx cy w h, or class and x y of at least three points.`,
    );
  }
  if (label === undefined) return undefined;
  const box = boundsOf(values);
  if (format !== 'yolo-obb') return { label, box, polygons: [values] };
  if (values.length !== 8) {
    throw new UsageError(`The line has ${values.length + 1} numbers, expected class and x y of four corners.`);
  }
  return { label, box, quad: values as QuadCoordinates };
}
