import type { Florence2Config } from '../config/model.ts';
import { Florence2Error } from '../errors.ts';
import type { ImageSize } from '../geometry/types.ts';
import { formatAnswer } from '../results/format.ts';
import { promptOf, promptProblem } from '../text/prompt.ts';
import { taskInfo, taskKey } from '../text/tasks.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { imageTokenCount } from '../vision/davit.ts';
import type { Target } from './example.ts';

/** The token ids of a target's prompt and answer, each with `<s>` and `</s>`. */
export interface TokenizedTarget {
  /** The key under which its losses are reported, see `taskKey`. */
  task: string;
  promptIds: number[];
  answerIds: number[];
}

/** What bounds the length of prompts and answers. */
export interface LengthLimits {
  /** Number of positions of the language model's encoder and decoder. */
  maxPositions: number;
  /** Number of the encoder's positions that an image takes. */
  imageTokens: number;
}

/** Returns the limits of a model for images of this size. */
export const lengthLimits = (
  { text, vision }: Florence2Config,
  image: { height: number; width: number },
): LengthLimits => ({ maxPositions: text.maxPositionEmbeddings, imageTokens: imageTokenCount(vision, image) });

/**
 * Converts a target to the prompt and the answer that the model is trained on, as token ids.
 *
 * @param image the size, in pixels, that the target's coordinates refer to
 * @throws UsageError if the target does not fit its task; Florence2Error if the prompt or the answer has more tokens than
 *   the model has positions
 */
export function tokenizeTarget(
  target: Target,
  image: ImageSize,
  tokenizer: Tokenizer,
  limits: LengthLimits,
): TokenizedTarget {
  const { promptIds, answerIds } = tokenIds(target, image, tokenizer);
  const problem = lengthProblem(target.task, promptIds.length, answerIds.length, limits);
  if (problem) throw new Florence2Error(problem);
  return { task: taskKey(target.task), promptIds, answerIds };
}

/** Returns the ids of a target's prompt and answer, whatever their length. */
export function tokenIds({ task, text, box, answer }: Target, image: ImageSize, tokenizer: Tokenizer) {
  return {
    promptIds: tokenizer.encode(promptOf(task, { text, box }, image)),
    answerIds: tokenizer.encode(formatAnswer(task, answer, image)),
  };
}

/** Returns what is wrong if a prompt or an answer has more tokens than the model has positions, else undefined. */
export function lengthProblem(
  task: string,
  promptTokens: number,
  answerTokens: number,
  { maxPositions, imageTokens }: LengthLimits,
): string | undefined {
  if (answerTokens <= maxPositions) return promptProblem(promptTokens, imageTokens, maxPositions);
  const to = taskInfo(task) ? task : JSON.stringify(task);
  return `The answer to ${to} has ${answerTokens} tokens; the model has ${maxPositions} positions.`;
}
