import { UsageError } from '../errors.ts';
import type { BoxCoordinates, Polygon } from '../geometry/types.ts';
import { resolveTask, type Task } from '../text/tasks.ts';
import type { Target } from './example.ts';

/** An object of a detection dataset, in pixels. */
export interface LabelledObject {
  label: string;
  box: BoxCoordinates;
  /** The outline, if the dataset has outlines. */
  polygons?: Polygon[];
}

export type ObjectTask = (typeof OBJECT_TASKS)[number];

/** The tasks that labelled objects can teach. */
export const OBJECT_TASKS = [
  '<OD>',
  '<REGION_PROPOSAL>',
  '<OPEN_VOCABULARY_DETECTION>',
  '<REGION_TO_CATEGORY>',
  '<REFERRING_EXPRESSION_SEGMENTATION>',
  '<REGION_TO_SEGMENTATION>',
] as const satisfies Task[];

/** The tasks that captions can teach. */
export const CAPTION_TASKS = ['<CAPTION>', '<DETAILED_CAPTION>', '<MORE_DETAILED_CAPTION>'] as const satisfies Task[];

/**
 * Returns the targets of some tasks for the objects of an image:
 *
 * - `<OD>`: one target with all objects, grouped by class in the order in which the classes first occur, as Florence-2
 *   writes them. Without objects the answer is empty.
 * - `<REGION_PROPOSAL>`: one target with all boxes. Without objects the answer is empty.
 * - `<OPEN_VOCABULARY_DETECTION>`: a target for each class, with the boxes of its objects.
 * - `<REGION_TO_CATEGORY>`: a target for each object, with its label.
 * - `<REFERRING_EXPRESSION_SEGMENTATION>`: a target for each class, with the outlines of its objects.
 * - `<REGION_TO_SEGMENTATION>`: a target for each object, with its outline.
 *
 * The last two ignore objects without polygons.
 */
export function objectTargets(objects: readonly LabelledObject[], tasks: readonly ObjectTask[]): Target[] {
  return tasks.flatMap(task => TARGETS[task](objects));
}

const TARGETS: Record<ObjectTask, (objects: readonly LabelledObject[]) => Target[]> = {
  '<OD>': objects => [
    {
      task: '<OD>',
      answer: { boxes: byLabel(objects).flatMap(([label, same]) => same.map(({ box }) => ({ label, box }))) },
    },
  ],
  '<REGION_PROPOSAL>': objects => [
    { task: '<REGION_PROPOSAL>', answer: { boxes: objects.map(({ box }) => ({ label: '', box })) } },
  ],
  '<OPEN_VOCABULARY_DETECTION>': objects =>
    byLabel(objects).map(([label, same]) => ({
      task: '<OPEN_VOCABULARY_DETECTION>',
      text: label,
      answer: { boxes: same.map(({ box }) => ({ label, box })) },
    })),
  '<REGION_TO_CATEGORY>': objects =>
    objects.map(({ label, box }) => ({ task: '<REGION_TO_CATEGORY>', box, answer: { text: label } })),
  '<REFERRING_EXPRESSION_SEGMENTATION>': objects =>
    byLabel(objects.filter(hasOutline)).map(([label, same]) => ({
      task: '<REFERRING_EXPRESSION_SEGMENTATION>',
      text: label,
      answer: { instances: same.map(({ polygons }) => ({ label: '', polygons: polygons! })) },
    })),
  '<REGION_TO_SEGMENTATION>': objects =>
    objects.filter(hasOutline).map(({ box, polygons }) => ({
      task: '<REGION_TO_SEGMENTATION>',
      box,
      answer: { instances: [{ label: '', polygons: polygons! }] },
    })),
};

const hasOutline = ({ polygons }: LabelledObject): boolean => polygons !== undefined && polygons.length > 0;

/** Groups objects by label, in the order in which the labels first occur. */
function byLabel(objects: readonly LabelledObject[]): [label: string, objects: LabelledObject[]][] {
  const labels = new Set(objects.map(({ label }) => label));
  return [...labels].map(label => [label, objects.filter(object => object.label === label)]);
}

/**
 * Returns the wanted tasks as tokens.
 *
 * @param what names the dataset in messages
 * @throws UsageError for a task that is not possible
 */
export function chooseTasks<T extends Task>(wanted: readonly string[], possible: readonly T[], what: string): T[] {
  return wanted.map(name => {
    const task = resolveTask(name);
    const found = possible.find(known => known === task);
    if (found) return found;
    throw new UsageError(`${what} cannot teach ${task}; it can: ${possible.join(', ')}.`);
  });
}
