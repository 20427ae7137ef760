import { UsageError } from '../../errors.ts';
import type { RunLengths } from '../../geometry/rle.ts';
import type { BoxCoordinates, ImageSize } from '../../geometry/types.ts';
import { show } from '../../show.ts';
import { maskOf } from './shapes.ts';

/** Bits of the four sizes that a run of values may have. */
const HEADER_SIZES = 4;

/**
 * Decodes the brush of Label Studio, whose bytes are a stream of bits: the number of values (32 bits), the bits of a value
 * less one (5), and the bits of four sizes of runs less one (4 each). Then blocks: whether all values of the block are the
 * same (1 bit), which size its length has (2), the length less one, and one value or as many as the length. The values are
 * the four channels of each pixel; a pixel belongs to the mask if its fourth is above 0.
 *
 * @throws UsageError if the bytes do not describe an image of this size
 */
export function decodeBrush(rle: unknown, size: ImageSize): { box: BoxCoordinates; mask: RunLengths } {
  if (!Array.isArray(rle) || !rle.every(byte => Number.isInteger(byte) && byte >= 0 && byte < 256)) {
    throw new UsageError(`rle is ${show(rle)}, expected bytes.`);
  }
  const bits = new Bits(rle as number[]);
  const count = bits.read(32);
  if (count !== size.width * size.height * 4) {
    throw new UsageError(`rle has ${count} values, expected four for each pixel of ${size.width}x${size.height}.`);
  }
  const valueBits = bits.read(5) + 1;
  const lengthBits = Array.from({ length: HEADER_SIZES }, () => bits.read(4) + 1);
  const runs: number[] = [];
  let inside = false;
  let run = 0;
  for (let at = 0; at < count; ) {
    const isRun = bits.read(1) === 1;
    const end = Math.min(at + bits.read(lengthBits[bits.read(2)]) + 1, count);
    let value = isRun ? bits.read(valueBits) : 0;
    for (; at < end; at++) {
      if (!isRun) value = bits.read(valueBits);
      if (at % 4 !== 3) continue;
      if (value > 0 !== inside) {
        runs.push(run);
        run = 0;
        inside = !inside;
      }
      run++;
    }
  }
  return maskOf({ runs: [...runs, run], left: 0, top: 0, ...size }, size);
}

class Bits {
  private position = 0;

  constructor(private readonly bytes: readonly number[]) {}

  /** Returns the next bits as a number, the highest first. */
  read(count: number): number {
    let value = 0;
    for (let i = 0; i < count; i++, this.position++) {
      const byte = this.bytes[this.position >> 3];
      if (byte === undefined) throw new UsageError('rle ends before all pixels are read.');
      value = value * 2 + ((byte >> (7 - (this.position & 7))) & 1);
    }
    return value;
  }
}
