import type { Target } from '../../datasets/example.ts';
import type { ImageSize } from '../../geometry/types.ts';
import { parseAnswer, type TypedAnswer } from '../../results/format.ts';
import { dequantizeBox } from '../../text/locations.ts';
import { taskInfo } from '../../text/tasks.ts';

const OCR_TASKS = ['<OCR>', '<OCR_WITH_REGION>', '<REGION_TO_OCR>'];

/** Whether a target, with its coordinates moved, is still true of the changed image. */
export function staysTrue(target: Target, change: 'flip' | 'crop'): boolean {
  const row = taskInfo(target.task);
  if (!row) return false;
  if (change === 'crop') return row.answer !== 'text' || row.input === 'region';
  return !OCR_TASKS.includes(row.task) && ![target.text ?? '', ...wordsOf(target.answer)].some(namesSide);
}

/** Whether a text has a word that begins with left or right. */
const namesSide = (text: string): boolean => /\b(left|right)/i.test(text);

/** The texts and labels of an answer. */
function wordsOf(answer: TypedAnswer | string): string[] {
  if (typeof answer === 'string') return [answer];
  if ('text' in answer) return [answer.text];
  if ('phrases' in answer) return answer.phrases.map(({ phrase }) => phrase);
  if ('quads' in answer) return answer.quads.map(({ text }) => text);
  return ['instances' in answer ? answer.instances : [], 'boxes' in answer ? answer.boxes : []].flatMap(objects =>
    objects.map(({ label }) => label),
  );
}

/** Whether a target has a custom prompt and contains location tokens, whose meaning is unknown. */
export const hasLocationTokens = ({ task, answer }: Target): boolean =>
  !taskInfo(task) && /<loc_/.test([task, ...wordsOf(answer)].join(' '));

/**
 * Returns a target whose answer and region are in pixels instead of location tokens. Answers in words are unchanged.
 */
export function typedTarget(target: Target, image: ImageSize): Target {
  const { task, text, ...rest } = target;
  const row = taskInfo(task);
  if (!row) return target;
  const places = typeof target.answer === 'string' && row.answer !== 'text';
  const answer = places ? parseAnswer(task, target.answer as string, image) : target.answer;
  if (row.input !== 'region' || target.box) return { ...target, answer };
  const bins = Array.from((text ?? '').matchAll(/<loc_(\d+)>/g), match => Number(match[1]));
  return { ...rest, task, box: dequantizeBox(bins, image), answer };
}
