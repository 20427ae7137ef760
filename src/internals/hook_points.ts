import type { Florence2 } from '../florence2.ts';
import type { ImageInput } from '../image/types.ts';
import { forcedLogits, Question, type QuestionOptions } from './question.ts';

/** A place where hooks run, with the shape of its activation. */
export interface HookPointShape {
  name: string;
  shape: number[];
}

/** See `Florence2.hookPoints`. */
export async function hookPoints(
  model: Florence2,
  image: ImageInput,
  task: string,
  options: QuestionOptions,
): Promise<HookPointShape[]> {
  const question = await Question.ask(model, image, task, options);
  const points: HookPointShape[] = [];
  const remove = model.hooks.add('**', ({ shape }, { name }) => void points.push({ name, shape: [...shape] }));
  try {
    forcedLogits(model, question, { from: 'pixels' }).dispose();
    return points;
  } finally {
    remove();
    question.dispose();
  }
}
