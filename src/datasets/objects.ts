import { UsageError } from '../errors.ts';
import { maskOutlines } from '../geometry/outlines.ts';
import { decodeRle } from '../geometry/rle.ts';
import type { Polygon } from '../geometry/types.ts';
import { resolveTask, type Task } from '../text/tasks.ts';
import type { AnnotatedImage, LabelledObject } from './annotation.ts';
import type { SourcedTarget, Target } from './example.ts';
import type { Subject } from './reading.ts';

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
 * The last two use polygons, corners of turned boxes or the outlines of masks, and ignore objects without any. Crowds are
 * left out.
 */
export function objectTargets(objects: readonly LabelledObject[], tasks: readonly ObjectTask[]): Target[] {
  const single = objects.filter(({ crowd }) => !crowd);
  return tasks.flatMap(task => TARGETS[task](single));
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
    byLabel(outlined(objects)).map(([label, same]) => ({
      task: '<REFERRING_EXPRESSION_SEGMENTATION>',
      text: label,
      answer: { instances: same.map(({ polygons }) => ({ label: '', polygons })) },
    })),
  '<REGION_TO_SEGMENTATION>': objects =>
    outlined(objects).map(({ box, polygons }) => ({
      task: '<REGION_TO_SEGMENTATION>',
      box,
      answer: { instances: [{ label: '', polygons }] },
    })),
};

/** Returns the outlines of an object: its polygons, the corners of a turned box, or the traced outlines of its mask. */
export function outlinesOf({ polygons, quad, mask }: LabelledObject): Polygon[] {
  return polygons ?? (quad ? [quad] : mask ? maskOutlines(decodeRle(mask)) : []);
}

const outlined = (objects: readonly LabelledObject[]): (LabelledObject & { polygons: Polygon[] })[] =>
  objects.map(object => ({ ...object, polygons: outlinesOf(object) })).filter(({ polygons }) => polygons.length > 0);

/** Groups objects by label, in the order in which the labels first occur. */
function byLabel<T extends LabelledObject>(objects: readonly T[]): [label: string, objects: T[]][] {
  const labels = new Set(objects.map(({ label }) => label));
  return [...labels].map(label => [label, objects.filter(object => object.label === label)]);
}

/** The tasks that annotations of each subject can teach, the default first. */
const SUBJECT_TASKS: Record<Exclude<Subject, 'rows'>, readonly Task[]> = {
  objects: OBJECT_TASKS,
  captions: CAPTION_TASKS,
  texts: ['<OCR_WITH_REGION>'],
};

/**
 * Returns what annotations of these subjects teach. Rows teach the tasks that they name.
 *
 * @param wanted default: the first task of each subject, and all rows
 * @param what names the dataset in messages
 * @throws UsageError for a task that is not possible
 */
export function teaching(
  subjects: readonly Subject[],
  wanted: readonly string[] | undefined,
  what: string,
): (image: Pick<AnnotatedImage, 'objects' | 'captions' | 'texts' | 'targets'>) => SourcedTarget[] {
  const tasksOf = subjects.flatMap(subject => (subject === 'rows' ? [] : [SUBJECT_TASKS[subject]]));
  const hasRows = subjects.includes('rows');
  const possible = tasksOf.flat();
  const named = wanted && (hasRows ? wanted.map(resolveTask) : chooseTasks(wanted, possible, what));
  const tasks = named ?? tasksOf.map(([first]) => first);
  const objectTasks = OBJECT_TASKS.filter(task => subjects.includes('objects') && tasks.includes(task));
  const captionTasks = CAPTION_TASKS.filter(task => subjects.includes('captions') && tasks.includes(task));
  const readsTexts = subjects.includes('texts') && tasks.includes('<OCR_WITH_REGION>');
  return ({ objects, captions, texts, targets }) => [
    ...targets.filter(({ task }) => named === undefined || (named as string[]).includes(task)),
    ...captionTasks.flatMap(task => captions.map(text => ({ task, answer: { text } }))),
    ...objectTargets(objects, objectTasks),
    ...(readsTexts && texts.length > 0 ? [{ task: '<OCR_WITH_REGION>', answer: { quads: texts } }] : []),
  ];
}

/**
 * Returns the wanted tasks as tokens.
 *
 * @param what names the dataset in messages
 * @throws UsageError for a task that is not possible
 */
function chooseTasks<T extends Task>(wanted: readonly string[], possible: readonly T[], what: string): T[] {
  return wanted.map(name => {
    const task = resolveTask(name);
    const found = possible.find(known => known === task);
    if (found) return found;
    throw new UsageError(`${what} cannot teach ${task}; it can: ${possible.join(', ')}.`);
  });
}
