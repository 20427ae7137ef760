import { type DemoFigures, FIGURES, type FigureName } from './evaluate.ts';
import { SHAPES } from './shapes.ts';
import { BACKGROUNDS, COLORS, PRINTED_WORDS, TRAINED_SHAPES } from './vocabulary.ts';

/** The training, stage by stage. */
export interface TrainingFacts {
  backend: string;
  machine: string;
  stages: StageFacts[];
}

export interface StageFacts {
  name: string;
  steps: number;
  targets: number;
  hours: number;
  /** The validations of the stage, oldest first. */
  curve: { step: number; metrics: Record<string, Record<string, number>> }[];
}

export interface CardFacts {
  measured: DemoFigures;
  training: TrainingFacts;
  /** Number of parameters in all tensors. */
  parameters: number;
  tokens: number;
}

/** Returns the checkpoint's README.md. */
export function modelCard({ measured, training, parameters, tokens }: CardFacts): string {
  const { stages, backend, machine } = training;
  const total = (what: 'steps' | 'targets' | 'hours') => stages.reduce((sum, stage) => sum + stage[what], 0);
  return `---
license: mit
library_name: florence2-tfjs
pipeline_tag: image-text-to-text
tags: [florence-2, synthetic]
---

# A small Florence-2 that knows drawn scenes

${millions(parameters)} million parameters, trained from scratch in TypeScript with this package. It answers all 15 tasks of Florence-2, about
one kind of picture only: **${list(TRAINED_SHAPES.map(shape => `${shape}s`))} in ${list(Object.keys(COLORS))}, one to three of them, small or large, on a ${list([...BACKGROUNDS], 'or')} background,
with or without a sign that shows a word.** It gives the package's demo, tests and documentation a model that runs within seconds on
any machine. For photographs use a published checkpoint, such as \`microsoft/Florence-2-base\`.

## Measurements

On ${measured.scenes} scenes of a seed that was used neither for training nor for any decision, with greedy answers
(\`npm run demo:eval -- --seed ${measured.seed} --scenes ${measured.scenes}\`). The checkpoint must reach the floor and should reach the aim.

${figureTable(measured)}

Every task, with the metrics of \`Evaluator\`:

${taskTable(measured)}

## How it was trained

${grouped(total('targets'))} questions in ${grouped(total('steps'))} steps and ${total('hours').toFixed(1)} hours on ${machine}, ${backend} backend
(\`npm run train:demo\`, in a clone). \`tools/demo\` draws the scenes during training. No scene is repeated within a stage, and each has four questions.
The first stage has one large object per scene: with small objects first, ten times as many steps do not teach colours, because
so little of the decoder's input depends on the object. Stages:

| stage | steps | questions | hours |
| --- | ---: | ---: | ---: |
${stages.map(({ name, steps, targets, hours }) => `| ${name} | ${grouped(steps)} | ${grouped(targets)} | ${hours.toFixed(1)} |`).join('\n')}

Metrics during training, on validation scenes drawn like those of the stage:

${curveTable(stages)}

## Limits

- It knows scenes of this kind only. Other objects are named with the nearest of its words; answers about photographs are
  nonsense.
- It knows only the shapes, colours and words above. The shape \`${untrained()}\` is left out on purpose: docs/fine-tuning.md teaches it.
- No training scene has two objects of the same colour and shape, or objects that overlap.
- It reads words in capitals of one font, about 20 of 128 pixels high, and has seen ${PRINTED_WORDS.length} different words.
- Its vocabulary has ${grouped(tokens)} tokens. Prompts with words other than those of the tasks and scenes are spelt in bytes, which it has
  not learnt.
`;
}

function figureTable({ figures }: DemoFigures): string {
  const rows = Object.entries(FIGURES).map(
    ([name, { says, floor, aim }]) =>
      `| ${code(says)} | **${share(figures[name as FigureName])}** | ${floor} | ${aim} |`,
  );
  return ['| | measured | floor | aim |', '| --- | ---: | ---: | ---: |', ...rows].join('\n');
}

function taskTable({ tasks }: DemoFigures): string {
  const rows = Object.keys(tasks)
    .sort()
    .map(task => {
      const { count, ...metrics } = tasks[task];
      const shown = Object.entries(metrics).filter(([name]) => !name.startsWith('AP/'));
      return `| \`${task}\` | ${count} | ${shown.map(([name, value]) => `${name} ${share(value)}`).join(', ')} |`;
    });
  return ['| task | questions | |', '| --- | ---: | --- |', ...rows].join('\n');
}

/** The metrics of the learning curve. */
const curveMetrics = [
  ['<CAPTION>', 'editSimilarity'],
  ['<OD>', 'mAP50'],
  ['<CAPTION_TO_PHRASE_GROUNDING>', 'recallAt1'],
  ['<REGION_TO_CATEGORY>', 'exactMatch'],
  ['<REFERRING_EXPRESSION_SEGMENTATION>', 'meanIoU'],
  ['<REGION_TO_OCR>', 'exactMatch'],
] as const;

function curveTable(stages: StageFacts[]): string {
  const head = curveMetrics.map(([task, metric]) => `\`${task}\` ${metric}`).join(' | ');
  const rows = stages.flatMap(({ name, curve }) =>
    curve.map(({ step, metrics }) => {
      const cells = curveMetrics.map(([task, metric]) => share(metrics[task]?.[metric]));
      return `| ${name} | ${grouped(step)} | ${cells.join(' | ')} |`;
    }),
  );
  return [`| stage | step | ${head} |`, `| --- | ---: |${' ---: |'.repeat(curveMetrics.length)}`, ...rows].join('\n');
}

const untrained = (): string =>
  Object.keys(SHAPES)
    .filter(shape => !(TRAINED_SHAPES as string[]).includes(shape))
    .join(', ');

const list = (words: readonly string[], last = 'and'): string =>
  `${words.slice(0, -1).join(', ')} ${last} ${words.at(-1)}`;

const share = (value: number | undefined): string =>
  value === undefined || Number.isNaN(value) ? '–' : value.toFixed(3);

const millions = (count: number): string => (count / 1e6).toFixed(1);

const grouped = (count: number): string => count.toLocaleString('en-US');

/** Formats task tokens as code. Markdown would read the angle brackets as HTML. */
const code = (text: string): string => text.replace(/<[^>]+>/g, token => `\`${token}\``);
