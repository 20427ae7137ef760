import { UsageError } from '../../errors.ts';
import type { TaskResult } from '../../results/types.ts';
import { checkArguments, type TaskArguments } from '../../text/prompt.ts';
import { resolveTask, TASKS, type TaskInfo, type TaskInput, taskInfo } from '../../text/tasks.ts';
import { checkTiledTask } from '../../tiling/run_tiled.ts';

/** One task or prompt, which is run on every image. */
export interface NamedRequest extends TaskArguments {
  /** A task token, or a prompt. */
  task: string;
  /** Its part of the names of output files. */
  name: string;
}

/** Flags of `florence2 run` that select what is asked. */
export interface RunQuestionFlags {
  task?: string[];
  prompt?: string[];
  text?: string;
  box?: number[];
  classes?: string[];
  constrain?: boolean;
  semantic?: string;
  layout?: string;
  tiles?: number;
  overlap?: number;
}

/** Returns the questions of the flags. @throws UsageError for flags that contradict each other, and missing input */
export function readQuestions(flags: RunQuestionFlags): NamedRequest[] {
  if (flags.semantic !== undefined) return semanticQuestions(flags);
  const task = flags.layout && !flags.task && !flags.prompt ? ['ocr-with-region'] : flags.task;
  return readTasks({ ...flags, task });
}

function readTasks({
  task = [],
  prompt = [],
  text,
  box,
  classes,
  tiles,
  overlap,
  constrain,
}: RunQuestionFlags): NamedRequest[] {
  const tasks = task.map(name => taskInfo(resolveTask(name)));
  if (classes && text !== undefined) throw new UsageError('Give either --classes or --text, not both.');
  if (classes && !tasks.some(row => row.task === '<OD>' || takesList(row))) {
    throw new UsageError(
      '--classes: give --task od to keep only these classes, --task open-vocabulary-detection or grounding to ask for them, or --semantic to map them.',
    );
  }
  const other = classes && constrain && tasks.find(row => hasOtherLabels(row));
  if (other) throw new UsageError(`--constrain: the labels of ${other.name} are not --classes. Run it by itself.`);
  const takers = (input: TaskInput) =>
    TASKS.filter(row => row.input === input)
      .map(({ name }) => name)
      .join(', ');
  if (text !== undefined && !tasks.some(({ input }) => input === 'text')) {
    throw new UsageError(`--text: none of the tasks takes a text. Tasks with a text: ${takers('text')}.`);
  }
  if (box !== undefined && !tasks.some(({ input }) => input === 'region')) {
    throw new UsageError(`--box: none of the tasks takes a region. Tasks with a region: ${takers('region')}.`);
  }
  const questions: NamedRequest[] = tasks.map(row => {
    const { task, name, input } = row;
    const words = takesList(row) ? (classes ?? text) : text;
    const given = { text: input === 'text' ? words : undefined, box: input === 'region' ? box : undefined };
    checkArguments(task, given); // reports missing input before the model is loaded
    return { task, name, ...given };
  });
  questions.push(...prompt.map((task, i) => ({ task, name: `prompt-${i + 1}` })));
  if (overlap !== undefined && tiles === undefined)
    throw new UsageError('--overlap is that of --tiles, which is missing.');
  if (tiles !== undefined) for (const { task } of questions) checkTiledTask(task);
  if (questions.length > 0) return questions;
  throw new UsageError(`A task is required: give --task (${TASKS.map(({ name }) => name).join(', ')}) or --prompt.`);
}

/** Whether the text of a task may be a list of class names. */
const takesList = ({ answer }: TaskInfo): boolean => answer === 'phrases' || answer === 'boxes or polygons';

/** Whether the answers of a task have labels that are not class names. */
const hasOtherLabels = (row: TaskInfo): boolean =>
  row.task === '<DENSE_REGION_CAPTION>' || row.task === '<OCR_WITH_REGION>';

/** Returns a question per class for --semantic, whose classes are those of --classes, or of --text. */
function semanticQuestions({ task = [], prompt = [], text, classes }: RunQuestionFlags): NamedRequest[] {
  const row = taskInfo('<REFERRING_EXPRESSION_SEGMENTATION>');
  const others = task.some(name => resolveTask(name) !== row.task) || prompt.length > 0;
  if (others) throw new UsageError(`--semantic is for --task ${row.name} alone.`);
  if (classes && text !== undefined) throw new UsageError('Give either --classes or --text, not both.');
  const names = classes ?? (text ?? '').split(',').map(name => name.trim());
  const different = [...new Set(names)].filter(name => name !== '');
  if (different.length === 0) {
    throw new UsageError('--semantic needs the names of the classes: --classes "road, car".');
  }
  return different.map((name, i) => ({ task: row.task, name: `${row.name}-${i + 1}`, text: name }));
}

/** Returns the results, in which the outlines of named objects have these names as labels. */
export const withLabels = (results: TaskResult[], questions: readonly NamedRequest[]): TaskResult[] =>
  results.map((result, i) => {
    const { text } = questions[i];
    if (!('instances' in result) || typeof text !== 'string') return result;
    return { ...result, instances: result.instances.map(item => ({ ...item, label: item.label || text })) };
  });
