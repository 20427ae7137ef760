import type { Florence2 } from '../florence2.ts';
import type { HookFilter, HookFn } from '../hooks/hooks.ts';
import type { ImageInput } from '../image/types.ts';
import { forcedLogits } from './forced_pass.ts';
import { Question, type QuestionOptions } from './question.ts';

/** A hook point and the shape of its activation. */
export interface HookPointShape {
  /** Name of the hook point. */
  name: string;
  /** Shape of the activation. */
  shape: number[];
}

/**
 * Lists every hook point with its shape, in execution order, of one pass over an image, a prompt and the whole answer
 * (teacher forcing). By default the answer is the model's own; `{ answer: 'a car' }` avoids generating one.
 *
 * @throws UsageError if the task lacks its text or region, Florence2Error if the image cannot be read
 */
export async function hookPoints(
  model: Florence2,
  image: ImageInput,
  task: string,
  options: QuestionOptions = {},
): Promise<HookPointShape[]> {
  const call = model.withAdapter();
  const question = await Question.ask(call, image, task, options);
  try {
    return pointsOf(call, question);
  } finally {
    question.dispose();
  }
}

/** Lists the hook points of a pass over a question that match `at`, with their shapes, in execution order. */
export function pointsOf(model: Florence2, question: Question, at: HookFilter = '**'): HookPointShape[] {
  const points: HookPointShape[] = [];
  const note: HookFn = ({ shape }, { name }) => void points.push({ name, shape: [...shape] });
  forcedLogits(model.withHooks([[at, note]]), question).dispose();
  return points;
}
