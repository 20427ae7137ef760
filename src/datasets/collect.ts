import type { ImageInput } from '../image/types.ts';
import type { Dataset, Target } from './example.ts';
import { ExampleList, type ProblemHandler, refuseErrors, reporting } from './reading.ts';
import { checkTarget } from './targets.ts';

/** An image and one thing to learn about it. */
export interface ImageTarget extends Target {
  image: ImageInput;
}

/**
 * A dataset of anything that yields `{ image, task, text?, box?, answer }`: an array, a generator, an async generator.
 * Rows of one image (the same path, URL or object) are one example. It is read to its end and kept in memory: images
 * as what they were given as, so paths cost little and pixels much.
 *
 * @param name what errors call it: `name[3]` is the fourth row
 * @throws Florence2Error that names the row and the field which is wrong, unless `onProblem` takes it
 */
export async function collectDataset(
  name: string,
  rows: Iterable<ImageTarget> | AsyncIterable<ImageTarget>,
  { onProblem = refuseErrors }: { onProblem?: ProblemHandler } = {},
): Promise<Dataset> {
  const examples = new ExampleList();
  let count = 0;
  for await (const { image, task, text, box, answer } of rows) {
    const source = `${name}[${count++}]`;
    reporting(source, onProblem, () => {
      const target = { task, ...(text !== undefined && { text }), ...(box !== undefined && { box }), answer };
      checkTarget(target);
      examples.add(image, [{ ...target, source }], source);
    });
  }
  return examples.dataset(name);
}
