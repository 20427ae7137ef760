import { UsageError } from '../errors.ts';
import { checkKind, fraction } from '../options.ts';
import { randomStream } from '../random.ts';
import { parse } from '../results/parse/parse.ts';
import { taskInfo } from '../text/tasks.ts';
import { subset } from './collect.ts';
import type { Dataset, Target } from './example.ts';

/** The place of a parsed answer does not matter here. */
const ANY_SIZE = { width: 1000, height: 1000 };

/**
 * Returns the classes that a target names: the labels of its boxes and outlines, the answer of `<REGION_TO_CATEGORY>`, and
 * the texts of open-vocabulary detection and referring segmentation, if their answers are not empty.
 */
export function classesOf({ task, text, answer }: Target): Set<string> {
  const kind = taskInfo(task)?.answer ?? 'text';
  const typed = typeof answer === 'string' ? parse(answer, task, ANY_SIZE, { keepUnicode: true }) : answer;
  const labels = [
    ...('boxes' in typed ? typed.boxes : []),
    ...('instances' in typed ? (typed.instances ?? []) : []),
  ].map(({ label }) => label);
  if (task === '<REGION_TO_CATEGORY>' && 'text' in typed) labels.push(typed.text);
  if (text !== undefined && labels.length > 0 && kind !== 'phrases') labels.push(text);
  return new Set(labels.filter(label => label !== ''));
}

/** Returns the classes that an image's targets name. */
export const classesOfAll = (targets: readonly Target[]): Set<string> =>
  new Set(targets.flatMap(target => [...classesOf(target)]));

/**
 * Returns a dataset in which images with rare classes are repeated, as in LVIS (Gupta et al. 2019, repeat factor sampling):
 * a class that a share f of the images have, below `threshold`, counts √(threshold / f), and an image is repeated as often as
 * its rarest class counts. Fractions are rounded up or down at random.
 *
 * @param threshold share of the images, above 0 and below 1
 * @param seed of the rounding
 * @throws UsageError for another threshold, and for a dataset without classes
 */
export async function oversample(dataset: Dataset, threshold: number, seed = 0): Promise<Dataset> {
  checkKind('threshold', threshold, fraction);
  const classes: Set<string>[] = [];
  for (let i = 0; i < dataset.length; i++) classes.push(classesOfAll((await dataset.example(i)).targets));
  const images = new Map<string, number>();
  for (const name of classes.flatMap(names => [...names])) images.set(name, (images.get(name) ?? 0) + 1);
  if (images.size === 0) throw new UsageError(`${dataset.name} names no classes, so none is rare.`);
  const factor = (name: string): number => Math.sqrt((threshold * dataset.length) / images.get(name)!);
  const random = randomStream(seed, 'oversample');
  const indices = classes.flatMap((names, index) => {
    const repeats = Math.max(1, ...[...names].map(factor));
    return new Array<number>(Math.floor(repeats + random())).fill(index);
  });
  return subset(dataset, indices);
}
