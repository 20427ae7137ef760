import { UsageError } from '../errors.ts';
import { checkKind, share as shareKind } from '../options.ts';
import { randomStream } from '../random.ts';
import type { TypedAnswer } from '../results/format.ts';
import { classesOfAll } from './classes.ts';
import type { Dataset, SourcedTarget, TrainingExample } from './example.ts';

/** The answers "there is none" of the tasks that ask for a class by its name. */
const NOTHING = new Map<string, TypedAnswer>([
  ['<OPEN_VOCABULARY_DETECTION>', { boxes: [] }],
  ['<REFERRING_EXPRESSION_SEGMENTATION>', { instances: [] }],
]);

/**
 * Returns a dataset with questions about what an image does not show: beside a share of the questions of open-vocabulary
 * detection and referring segmentation, the same about another class of the dataset, with an empty answer. An image
 * without such questions counts as one with one of each task. An image has the same questions in each epoch.
 *
 * @param share of these questions that have one without an answer beside them, 0 to 1
 * @param seed chooses them and their classes
 * @throws UsageError for another share, and for a dataset without such questions or with one class
 */
export async function withNegatives(dataset: Dataset, share: number, seed = 0): Promise<Dataset> {
  checkKind('share', share, shareKind);
  const { tasks, classes, present } = await survey(dataset);
  if (classes.length < 2) {
    const found = classes.length === 0 ? 'no class is asked for by its name' : `only ${classes[0]} is asked for`;
    throw new UsageError(
      `${dataset.name} can have no negatives: ${found}. They need the task open-vocabulary-detection or referring-segmentation, and two classes.`,
    );
  }
  const example = async (index: number): Promise<TrainingExample> => {
    const positive = await dataset.example(index);
    const random = randomStream(seed, 'negatives', index);
    const negatives = tasks.flatMap((task): SourcedTarget[] => {
      const asked = positive.targets.filter(target => target.task === task);
      const absent = classes.filter(name => !present[index].has(name));
      return (asked.length === 0 ? [{}] : asked).flatMap(({ source }: Pick<SourcedTarget, 'source'>) => {
        if (random() >= share || absent.length === 0) return [];
        const [text] = absent.splice(Math.floor(random() * absent.length), 1);
        return [{ task, text, answer: NOTHING.get(task)!, ...(source !== undefined && { source }) }];
      });
    });
    return { ...positive, targets: [...positive.targets, ...negatives] };
  };
  return { name: dataset.name, length: dataset.length, example };
}

/** Returns the tasks that ask for classes by their names, these classes, sorted, and all classes of each example. */
async function survey(dataset: Dataset): Promise<{ tasks: string[]; classes: string[]; present: Set<string>[] }> {
  const [tasks, asked] = [new Set<string>(), new Set<string>()];
  const present: Set<string>[] = [];
  for (let i = 0; i < dataset.length; i++) {
    const { targets } = await dataset.example(i);
    present.push(classesOfAll(targets));
    const asking = targets.filter(({ task }) => NOTHING.has(task));
    for (const { task } of asking) tasks.add(task);
    for (const name of classesOfAll(asking)) asked.add(name);
  }
  return { tasks: [...tasks], classes: [...asked].sort(), present };
}
