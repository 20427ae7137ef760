/** The type check (tsc) is the test: each `@ts-expect-error` must precede an error. Nothing here is called. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type {
  BoxesResult,
  Florence2,
  ImageFeatures,
  PhrasesResult,
  PromptResult,
  Task,
  TaskResult,
  TextResult,
} from '../src/index.ts';
import { filterByScore } from '../src/index.ts';

/** Accepts values of exactly one type. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const isSame = <A, B>(_: Same<A, B>): void => {};

async function results(model: Florence2, image: ImageFeatures, prompt: string, task: Task): Promise<void> {
  const boxes = await model.run(image, '<OD>');
  isSame<typeof boxes, BoxesResult>(true);
  const named = await model.run(image, 'grounding', { text: ['a dog', 'a cat'], numBeams: 1 });
  isSame<typeof named, PhrasesResult>(true);
  const any = await model.run(image, prompt, { text: 'a dog' });
  isSame<typeof any, TaskResult>(true);
  const known = await model.run(image, task, { text: 'a dog' });
  isSame<typeof known, Exclude<TaskResult, PromptResult>>(true);
  const [words, found] = await model.runBatch([
    { image, task: '<OCR>' },
    { image, task: '<CAPTION_TO_PHRASE_GROUNDING>', text: 'a dog' },
  ]);
  isSame<typeof words, TextResult>(true);
  isSame<typeof found, PhrasesResult>(true);
  const many = await model.runBatch(['<OD>', '<CAPTION>'].map(task => ({ image, task })));
  isSame<typeof many, TaskResult[]>(true);
  const hooked = await model.runWithHooks(image, 'od', []);
  isSame<typeof hooked, BoxesResult>(true);
  const { result } = await model.runWithCache(image, '<OD>', { names: 'hook_logits' });
  isSame<typeof result, BoxesResult>(true);
  isSame<ReturnType<typeof filterByScore<BoxesResult>>, BoxesResult>(true);
  filterByScore(boxes, 0.5).boxes.at(0);
}

async function refused(model: Florence2, image: ImageFeatures): Promise<void> {
  // @ts-expect-error: the task needs a text
  await model.run(image, '<CAPTION_TO_PHRASE_GROUNDING>');
  // @ts-expect-error: the task needs a text
  await model.run(image, 'grounding', { numBeams: 1 });
  // @ts-expect-error: the task needs a box
  await model.run(image, '<REGION_TO_OCR>', {});
  // @ts-expect-error: the task takes no text
  await model.run(image, '<OD>', { text: 'a dog' });
  // @ts-expect-error: the task takes no box
  await model.run(image, 'grounding', { text: 'a dog', box: [0, 0, 1, 1] });
  // @ts-expect-error: the option is mistyped
  await model.run(image, '<OD>', { numBeam: 1 });
  // @ts-expect-error: the task needs a text
  await model.runWithHooks(image, 'grounding', []);
  // @ts-expect-error: the task needs a box
  await model.runWithCache(image, '<REGION_TO_OCR>', { names: 'hook_logits' });
  // @ts-expect-error: the task needs a box
  model.stream(image, '<REGION_TO_OCR>');
  // @ts-expect-error: the second task needs a text
  await model.runBatch([{ image, task: '<OD>' }, { image, task: '<CAPTION_TO_PHRASE_GROUNDING>' }]); // biome-ignore format: one line
  // @ts-expect-error: captions have no boxes
  (await model.run(image, '<CAPTION>')).boxes;
}

test('the type check covers results and arguments by task', () => {
  assert.type(results, 'function');
  assert.type(refused, 'function');
});

test.run();
