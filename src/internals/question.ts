import * as tf from '@tensorflow/tfjs';
import { metadataOf } from '../activations/activation.ts';
import { UsageError } from '../errors.ts';
import type { Florence2 } from '../florence2.ts';
import { settingsOf } from '../generation/call.ts';
import { generateSequences } from '../generation/generate.ts';
import { GENERATION_OPTIONS, type GenerationOptions } from '../generation/options.ts';
import { CachedSession } from '../generation/session.ts';
import type { ImageSize } from '../geometry/types.ts';
import { HookRegistry, noHooks } from '../hooks/hooks.ts';
import { imageHash, promptAbout } from '../image/features.ts';
import { preprocess, toTensor } from '../image/preprocess.ts';
import { DECODE_OPTIONS, type DecodeOptions, type ImageInput } from '../image/types.ts';
import { abortSignal, checkOptions, type Kind, listOf, type OptionTable, pickOptions, whole } from '../options.ts';
import { allowsEmptyAnswer } from '../results/grammar.ts';
import { TASK_ARGUMENTS, type TaskArguments } from '../text/prompt.ts';
import { answeredTask } from '../text/tasks.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { mapSize } from '../vision/davit.ts';

/** Options of `Question.ask`; generation options apply to the model's own answer, whose decoding is always greedy. */
export interface QuestionOptions extends TaskArguments, DecodeOptions, GenerationOptions {
  /**
   * The answer that the decoder receives: a text in the model's format (`A red car`, `car<loc_10>…`), or token ids
   * without the start token. A missing `</s>` is appended; a text also gets `<s>` at its beginning. Empty only if the
   * image may have no objects or no text. Default: the model's own greedy answer.
   */
  answer?: string | readonly number[];
  /** Aborts the generation of the model's own answer between two tokens; its reason is thrown. */
  signal?: AbortSignal;
}

/** The kinds of the options of `Question.ask`. */
const QUESTION_OPTIONS: OptionTable<QuestionOptions> = {
  ...{ ...TASK_ARGUMENTS, ...DECODE_OPTIONS, ...GENERATION_OPTIONS },
  answer: {
    expected: 'a text or a list of token ids',
    allows: answer => typeof answer === 'string' || listOf(whole, 'token ids').allows(answer),
  },
  signal: abortSignal,
};

/** A question, as an argument of another call. */
export const QUESTION: Kind = { expected: 'a Question', allows: value => value instanceof Question };

/** The first hook point of a pass that starts from the features. */
export const FEATURES = 'multi_modal_projector.hook_image_features';

/** Where a forced pass starts. Earlier results are taken from the question. */
export type PassStart = 'pixels' | 'features' | 'memory';

interface QuestionParts {
  pixels: tf.Tensor4D;
  features: tf.Tensor3D;
  memory: tf.Tensor3D;
  imageSize: ImageSize;
  metadata: Readonly<Record<string, string>>;
  promptIds: readonly number[];
  answerIds: readonly number[];
  decoderIds: readonly number[];
  grid: [rows: number, columns: number];
  positions: string[];
  pointsFrom: Readonly<Record<'pixels' | 'features', readonly string[]>>;
}

/**
 * An image, a prompt and an answer, for passes under teacher forcing: the decoder receives the whole answer, so that
 * one pass computes all positions. The tensors are computed without the model's hooks. The caller disposes the
 * question.
 */
export class Question {
  /** Size in pixels of the image as the model reads it: upright with `orientation: 'apply'`. */
  readonly imageSize: ImageSize;
  /** What its activations belong to, see `ActivationCache.metadata`. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Token ids of the prompt. */
  readonly promptIds: readonly number[];
  /** The decoder's input: the start token, then the answer without its last token. [T] */
  readonly decoderIds: readonly number[];
  /** The target of each position: the answer's tokens, ending with `</s>`. [T] */
  readonly answerIds: readonly number[];
  /** Rows and columns of the image's map. */
  readonly grid: [rows: number, columns: number];
  /** Names of the encoder's S positions: `mean`, `row,column` per cell of the map, then the prompt's tokens as text. */
  readonly positions: string[];
  /** Names of the hook points from the pixels to the features, and from the features to the memory. */
  readonly pointsFrom: Readonly<Record<'pixels' | 'features', readonly string[]>>;

  /**
   * Encodes an image and a prompt, and generates the model's answer if none is given.
   *
   * @param task a task token (`<OD>`), or a custom prompt
   * @throws UsageError if the task lacks its text or region, Florence2Error if the image cannot be read
   */
  static async ask(
    model: Florence2,
    image: ImageInput,
    task: string,
    options: QuestionOptions = {},
  ): Promise<Question> {
    const call = model.withAdapter();
    const { decodeForModel } = await import('../image/decode.ts');
    checkOptions('Question.ask', options, QUESTION_OPTIONS);
    const asked = answeredTask(task);
    if (options.answer?.length === 0 && !allowsEmptyAnswer(asked)) {
      throw new UsageError(`The answer to ${asked} is empty: leave it out for the model's own, or give a text.`);
    }
    const { image: raw, turned } = await decodeForModel(image, pickOptions(options, DECODE_OPTIONS));
    const imageSize = { width: raw.width, height: raw.height };
    const { text, box } = options;
    const prompt = promptAbout({ imageSize, orientation: turned }, { task, text, box });
    const promptIds = call.tokenizer.encode(prompt);
    const tensors = call.tidy(() => {
      const pixels = toTensor(preprocess(raw, call.preprocessor)); // [1, H, W, 3]
      const features = call.model.encodeImage(pixels, noHooks);
      const ids = tf.tensor2d([promptIds], undefined, 'int32');
      const { states } = call.model.encodePrompt(features, ids, null, noHooks);
      return { pixels, features, memory: states };
    });
    try {
      const answerIds = await answerOf(call, tensors.memory, options);
      const decoderIds = [call.config.text.decoderStartTokenId, ...answerIds.slice(0, -1)];
      const [, height, width] = tensors.pixels.shape;
      const grid = mapSize(call.config.vision, height, width);
      return new Question({
        ...tensors,
        imageSize,
        metadata: metadataOf(call.folder, task, prompt, [decoderIds[0], ...answerIds], await imageHash(raw)),
        promptIds,
        answerIds,
        decoderIds,
        grid,
        positions: encoderPositions(call.tokenizer, grid, promptIds),
        pointsFrom: pointsBefore(call.model.hookNames),
      });
    } catch (error) {
      tf.dispose(Object.values(tensors));
      throw error;
    }
  }

  private constructor(private readonly parts: QuestionParts) {
    this.imageSize = parts.imageSize;
    this.metadata = parts.metadata;
    this.promptIds = parts.promptIds;
    this.answerIds = parts.answerIds;
    this.decoderIds = parts.decoderIds;
    this.grid = parts.grid;
    this.positions = parts.positions;
    this.pointsFrom = parts.pointsFrom;
  }

  /** The preprocessed image, [1, H, W, 3]. @throws UsageError after `dispose` */
  get pixels(): tf.Tensor4D {
    return alive(this.parts.pixels);
  }

  /**
   * The projector's output, [1, 1 + N, D]: the mean token, then the N cells of the image's map.
   *
   * @throws UsageError after `dispose`
   */
  get features(): tf.Tensor3D {
    return alive(this.parts.features);
  }

  /** The encoder's output, [1, S, D]. @throws UsageError after `dispose` */
  get memory(): tf.Tensor3D {
    return alive(this.parts.memory);
  }

  /** Frees the tensors. */
  dispose(): void {
    const { pixels, features, memory } = this.parts;
    tf.dispose([pixels, features, memory]);
  }
}

function alive<T extends tf.Tensor>(tensor: T): T {
  if (!tensor.isDisposed) return tensor;
  throw new UsageError('The question has been disposed: ask it again.', { code: 'DISPOSED' });
}

/** Returns the hook points from the pixels to the features, and from the features to the memory. */
function pointsBefore(names: readonly string[]): Record<'pixels' | 'features', string[]> {
  const before = names.filter(name => !/^(language_model\.decoder\.|hook_)/.test(name));
  const isLate = (name: string): boolean => name === FEATURES || name.startsWith('language_model.');
  return { pixels: before.filter(name => !isLate(name)), features: before.filter(isLate) };
}

/** Returns the ids of the given or the generated answer, ending with `</s>`. */
async function answerOf(
  call: Florence2,
  states: tf.Tensor3D,
  { answer, signal, ...options }: QuestionOptions,
): Promise<number[]> {
  const greedy = { numBeams: 1, numReturnSequences: 1, doSample: false };
  const settings = settingsOf(call, { ...pickOptions(options, GENERATION_OPTIONS), ...greedy });
  const { decoderStartTokenId, eosTokenIds } = settings;
  const ended = (ids: readonly number[]) => (eosTokenIds.includes(ids.at(-1)!) ? [...ids] : [...ids, eosTokenIds[0]]);
  if (typeof answer === 'string') return ended(call.tokenizer.encode(answer));
  if (answer) {
    const { vocabSize } = call.config.text;
    const unknown = answer.find(id => id >= vocabSize);
    if (unknown !== undefined)
      throw new UsageError(`answer has the token id ${unknown}; ids are 0 to ${vocabSize - 1}.`);
    const started = answer.length > 1 && answer[0] === decoderStartTokenId; // the form that `generate` returns
    return ended(started ? answer.slice(1) : answer);
  }
  const session = new CachedSession(call.model, { states, mask: null }, 1, new HookRegistry(), call.adaptation);
  try {
    const [[{ ids }]] = await generateSequences(session, settings, signal);
    return ended(ids.slice(1));
  } finally {
    session.dispose();
  }
}

function encoderPositions(
  tokenizer: Tokenizer,
  [rows, columns]: [rows: number, columns: number],
  promptIds: readonly number[],
): string[] {
  const cells = Array.from({ length: rows * columns }, (_, i) => `${Math.floor(i / columns)},${i % columns}`);
  return ['mean', ...cells, ...tokenizer.tokenTexts(promptIds)];
}
