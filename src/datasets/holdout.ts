import { createHash } from 'node:crypto';
import { Florence2Error } from '../errors.ts';
import { readBytes } from '../image/source.ts';
import { isRawImage } from '../image/types.ts';
import { checkKind, fraction } from '../options.ts';
import { subset } from './collect.ts';
import type { Dataset, TrainingExample } from './example.ts';
import { type ProblemHandler, throwErrors } from './reading.ts';

/** A dataset in two parts. */
export interface Holdout {
  readonly train: Dataset;
  /** The examples that are held out, for validation. */
  readonly valid: Dataset;
}

/** Images that are read at the same time. */
const AT_ONCE = 8;

/**
 * Splits a dataset by a hash of each image's bytes. An image is on the same side whatever its name and place, also after
 * images were added or removed, and copies of an image are on one side. All images are read. Node only.
 *
 * @param share of the images that are held out, above 0 and below 1; the parts have this size on average
 * @param onProblem receives each image that cannot be read, which then stays in `train`. Default: the first is thrown
 * @throws UsageError for another share, Florence2Error for an image that cannot be read
 */
export async function holdOut(
  dataset: Dataset,
  share: number,
  onProblem: ProblemHandler = throwErrors,
): Promise<Holdout> {
  checkKind('share', share, fraction);
  const isHeld = async (index: number): Promise<boolean> => {
    const { image, source } = await dataset.example(index);
    const hash = await hashOf(image).catch(error => {
      if (!(error instanceof Florence2Error)) throw error;
      onProblem({ severity: 'error', source, message: error.message });
      return 1;
    });
    return hash < share;
  };
  const held: boolean[] = [];
  for (let first = 0; first < dataset.length; first += AT_ONCE) {
    const count = Math.min(AT_ONCE, dataset.length - first);
    held.push(...(await Promise.all(Array.from({ length: count }, (_, i) => isHeld(first + i)))));
  }
  const indices = [...held.keys()];
  return {
    train: subset(
      dataset,
      indices.filter(i => !held[i]),
    ),
    valid: subset(
      dataset,
      indices.filter(i => held[i]),
      `held out of ${dataset.name}`,
    ),
  };
}

/** Returns the first 48 bits of the SHA-256 of an image's bytes, or of its pixels, as a number of at least 0 and below 1. */
async function hashOf(image: TrainingExample['image']): Promise<number> {
  const bytes = isRawImage(image) ? image.data : (await readBytes(image)).bytes;
  return createHash('sha256').update(bytes).digest().readUIntBE(0, 6) / 2 ** 48;
}
