import { Florence2Error } from '../errors.ts';
import { show } from '../show.ts';
import type { Mask } from './masks.ts';

/** COCO's run-length encoding of a mask: column by column, alternating runs of 0 and 1, starting with 0. */
export interface RunLengths {
  /** Height and width of the mask in pixels. */
  size: [height: number, width: number];
  /** Lengths of the runs in pixels; the first may be 0. */
  counts: number[];
}

/** Encodes a mask by run lengths. */
export function encodeRle({ data, width, height }: Mask): RunLengths {
  const counts: number[] = [];
  let value = 0;
  let run = 0;
  for (let x = 0; x < width; x++) {
    for (let i = x; i < data.length; i += width) {
      if (data[i] === value) run++;
      else {
        counts.push(run);
        value = data[i];
        run = 1;
      }
    }
  }
  return { size: [height, width], counts: [...counts, run] };
}

/** Most pixels of a mask. */
const MOST_MASK_PIXELS = 2 ** 28;

/** Returns run lengths. @throws Florence2Error if they do not add up to the size, or it is above 2^28 pixels */
export function checkRuns(runs: RunLengths): RunLengths {
  const [height, width] = runs.size;
  const total = runs.counts.reduce((sum, run) => sum + run, 0);
  if (total !== width * height) {
    throw new Florence2Error(`Run lengths of ${total} pixels do not fill a mask of ${width}x${height}.`);
  }
  if (total > MOST_MASK_PIXELS) {
    throw new Florence2Error(`A mask of ${width}x${height} is larger than the limit of ${MOST_MASK_PIXELS} pixels.`);
  }
  return runs;
}

/** Decodes run lengths to a mask. @throws Florence2Error as `checkRuns` does */
export function decodeRle(runs: RunLengths): Mask {
  const { counts } = checkRuns(runs);
  const [height, width] = runs.size;
  const data = new Uint8Array(width * height);
  let position = 0; // column by column
  for (const [i, run] of counts.entries()) {
    for (const end = position + run; position < end; position++) {
      if (i % 2) data[(position % height) * width + Math.floor(position / height)] = 1;
    }
  }
  return { width, height, data };
}

/**
 * Returns run lengths as the string that COCO's files contain. From the fourth on, each is stored as its difference to
 * the one two before it. Numbers are split into groups of 5 bits, lowest first; bit 6 marks that another group follows,
 * and adding 48 turns each group into a character.
 */
export function compressCounts(counts: readonly number[]): string {
  let text = '';
  for (const [i, run] of counts.entries()) {
    let rest = i > 2 ? run - counts[i - 2] : run;
    for (let more = true; more; ) {
      const group = rest & 31;
      rest >>= 5;
      more = rest !== (group & 16 ? -1 : 0); // the last group's high bit is the sign
      text += String.fromCharCode(48 + group + (more ? 32 : 0));
    }
  }
  return text;
}

/** Parses the string of run lengths in COCO's files. @throws Florence2Error if it is not one */
export function decompressCounts(text: string): number[] {
  const counts: number[] = [];
  for (let at = 0; at < text.length; ) {
    let value = 0;
    let shift = 0;
    for (let more = true; more; shift += 5) {
      const code = text.charCodeAt(at++) - 48;
      if (!(code >= 0 && code < 64)) throw new Florence2Error(`${show(text)} is not a run-length string.`);
      value |= (code & 31) << shift;
      more = code >= 32;
      if (!more && code & 16) value |= -1 << (shift + 5);
    }
    counts.push(counts.length > 2 ? value + counts[counts.length - 2] : value);
  }
  return counts;
}
