import { requirePoints } from '../../hooks/filter.ts';
import { pointsOf } from '../../internals/hook_points.ts';
import { Question } from '../../internals/question.ts';
import { loadModel, type ModelFlags } from '../load_model.ts';
import { print } from '../print/terminal.ts';

/**
 * Lists the hook points that match a filter with their shapes, as columns or as JSON lines. The shapes do not depend on
 * what the image shows, so a grey one is used.
 */
export async function runHooks(filter: string, flags: HooksFlags): Promise<void> {
  const { task, answer, json = false } = flags;
  const model = await loadModel(flags);
  try {
    requirePoints(filter, model.model.hookNames);
    const { width, height } = model.preprocessor;
    const image = { data: new Uint8Array(width * height * 3).fill(128), width, height };
    const question = await Question.ask(model, image, task, { answer });
    const points = pointsOf(model, question, filter);
    question.dispose();
    const longest = Math.max(...points.map(({ name }) => name.length));
    const line = ({ name, shape }: (typeof points)[number]): string =>
      json ? JSON.stringify({ name, shape }) : `${name.padEnd(longest)}  [${shape.join(', ')}]`;
    print(...points.map(line));
  } finally {
    model.dispose();
  }
}

/** Flags of `florence2 hooks`. */
export interface HooksFlags extends ModelFlags {
  task: string;
  /** The answer that the decoder receives. */
  answer: string;
  json?: boolean;
}
