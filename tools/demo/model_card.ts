import { type DemoFigures, FIGURES, type FigureName } from './evaluate.ts';
import type { Suite } from './layout.ts';
import { SHAPES } from './shapes.ts';
import { BACKGROUNDS, COLORS, PHOTOGRAPHIC, PRINTED_WORDS, TRAINED_SHAPES } from './vocabulary.ts';

/** A finished stage of the training, as weights/demo/training.json keeps it. */
export interface StageFacts {
  name: string;
  steps: number;
  targets: number;
  hours: number;
  /** Backend and processor. */
  machine: string;
  /** The validations of the stage, oldest first, with the metrics of the learning curve. */
  curve: { step: number; metrics: Record<string, Record<string, number>> }[];
}

export interface CardFacts {
  /** Figures on plain and on wide scenes. */
  measured: Record<Suite, DemoFigures>;
  stages: StageFacts[];
  /** Number of parameters in all tensors. */
  parameters: number;
  tokens: number;
}

/** Returns the checkpoint's README.md. */
export function modelCard({ measured, stages, parameters, tokens }: CardFacts): string {
  const total = (what: 'steps' | 'targets' | 'hours') => stages.reduce((sum, stage) => sum + stage[what], 0);
  const { seed, scenes } = measured.plain;
  return `---
license: mit
library_name: florence2-tfjs
pipeline_tag: image-text-to-text
tags: [florence-2, synthetic]
---

# A small Florence-2 that knows drawn scenes

${millions(parameters)} million parameters, trained from scratch in TypeScript with this package. It answers all 15 tasks of Florence-2, about
one kind of picture only: **${list(TRAINED_SHAPES.map(shape => `${shape}s`))} in ${list(Object.keys(COLORS))}, one to four of them, small or large, on a ${list([...BACKGROUNDS, PHOTOGRAPHIC], 'or')} background,
with or without a sign that shows a word.** It gives the package's demo, tests and documentation a model that runs within seconds on
any machine. For photographs use a published checkpoint, such as \`microsoft/Florence-2-base\`.

## Measurements

On ${scenes} scenes of each suite, of a seed that was used neither for training nor for any decision, with greedy answers
(\`npm run demo:eval -- --seed ${seed} --scenes ${scenes}\`, and the same with \`--suite wide\`). On plain scenes the checkpoint must reach
the floor and should reach the aim; on wide ones it should keep at least 0.85 of the plain figure.

- **plain**: one to three objects that are all different and lie apart; signs with capitals of one font.
- **wide**: one to four objects that overlap, touch the border or occur twice; signs in three fonts, with capitals or small letters;
  half of the backgrounds like photographs; questions that refer by size and place (\`the small star at the left\`), and questions about
  objects that are not there, whose right answer is nothing.

${figureTable(measured)}

Every task, with the metrics of \`Evaluator\`:

${taskTable(measured)}

## Confidences

How much the \`confidence\` of objects and texts is worth (docs/concepts.md), after calibration on scenes of another seed
(\`npm run demo:calibrate\`): the expected calibration error (ECE, 15 bins), how often a right answer has a higher confidence
than a wrong one (AUROC), the median confidence of right answers, and mAP with objects ranked by confidence and by the
reference's score.

${scoreTable(measured)}

## How it was trained

${grouped(total('targets'))} questions in ${grouped(total('steps'))} steps and ${total('hours').toFixed(1)} hours on two cores (\`npm run train:demo\`, in a clone). \`tools/demo\` draws the
scenes during training. No scene is repeated within a stage, and each has four questions. \`--stage NAME\` starts from a stage, with the
weights of the one before or with the published ones. The first stage has one large object per scene: with small objects first, ten
times as many steps do not teach colours, because so little of the decoder's input depends on the object. Stages:

| stage | steps | questions | hours | machine |
| --- | ---: | ---: | ---: | --- |
${stages.map(({ name, steps, targets, hours, machine }) => `| ${name} | ${grouped(steps)} | ${grouped(targets)} | ${hours.toFixed(1)} | ${machine} |`).join('\n')}

Metrics during training, on plain validation scenes drawn like those of the stage:

${curveTable(stages)}

## Limits

- It knows scenes of this kind only. Other objects are named with the nearest of its words; answers about photographs are
  nonsense.
- It knows only the shapes, colours and words above. The shape \`${untrained()}\` is left out on purpose: docs/fine-tuning.md teaches it.
- Outlines and boxes of objects that others cover in part are those of the whole object.
- It reads words of one line, about 20 of 128 pixels high, and has seen ${PRINTED_WORDS.length} different words.
- Its vocabulary has ${grouped(tokens)} tokens. Prompts with words other than those of the tasks and scenes are spelt in bytes, which it has
  not learnt.
`;
}

function figureTable({ plain, wide }: Record<Suite, DemoFigures>): string {
  const rows = Object.entries(FIGURES).map(([key, { says, floor, aim }]) => {
    const name = key as FigureName;
    const [onPlain, onWide] = [plain.figures[name], wide.figures[name]];
    return `| ${code(says)} | **${share(onPlain)}** | ${floor} | ${aim} | ${share(onWide)} | ${share(onWide / onPlain)} |`;
  });
  return [
    '| | plain | floor | aim | wide | wide / plain |',
    '| --- | ---: | ---: | ---: | ---: | ---: |',
    ...rows,
  ].join('\n');
}

function taskTable({ plain, wide }: Record<Suite, DemoFigures>): string {
  const shown = ({ count, ...metrics }: Record<string, number>): string =>
    Object.entries(metrics)
      .filter(([name]) => !name.startsWith('AP/'))
      .map(([name, value]) => `${name} ${share(value)}`)
      .join(', ');
  const rows = Object.keys(plain.tasks)
    .sort()
    .map(task => `| \`${task}\` | ${shown(plain.tasks[task])} | ${shown(wide.tasks[task])} |`);
  return ['| task | plain | wide |', '| --- | --- | --- |', ...rows].join('\n');
}

function scoreTable(measured: Record<Suite, DemoFigures>): string {
  const rows = Object.entries(measured).flatMap(([suite, { scores, tasks }]) =>
    Object.keys(scores)
      .filter(task => scores[task].count > 0)
      .sort()
      .map(task => {
        const { count, calibrationError, auroc, medianRight, mAPByScore } = scores[task];
        const cells = [calibrationError, auroc, medianRight, mAPByScore && tasks[task].mAP, mAPByScore];
        const name = task === 'all' ? '**all**' : `\`${task}\``;
        return `| ${suite} | ${name} | ${count} | ${cells.map(share).join(' | ')} |`;
      }),
  );
  const head = ['suite', 'task', 'answers', 'ECE', 'AUROC', 'median of right', 'mAP by confidence', 'mAP by score'];
  return [`| ${head.join(' | ')} |`, '| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |', ...rows].join('\n');
}

/** The metrics of the learning curve. */
export const CURVE_METRICS = [
  ['<CAPTION>', 'editSimilarity'],
  ['<OD>', 'mAP50'],
  ['<CAPTION_TO_PHRASE_GROUNDING>', 'recallAt1'],
  ['<REGION_TO_CATEGORY>', 'exactMatch'],
  ['<OPEN_VOCABULARY_DETECTION>', 'mAP'],
  ['<REFERRING_EXPRESSION_SEGMENTATION>', 'meanIoU'],
  ['<REGION_TO_OCR>', 'exactMatch'],
] as const;

function curveTable(stages: StageFacts[]): string {
  const head = CURVE_METRICS.map(([task, metric]) => `\`${task}\` ${metric}`).join(' | ');
  const rows = stages.flatMap(({ name, curve }) =>
    curve.map(({ step, metrics }) => {
      const cells = CURVE_METRICS.map(([task, metric]) => share(metrics[task]?.[metric]));
      return `| ${name} | ${grouped(step)} | ${cells.join(' | ')} |`;
    }),
  );
  return [`| stage | step | ${head} |`, `| --- | ---: |${' ---: |'.repeat(CURVE_METRICS.length)}`, ...rows].join('\n');
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
