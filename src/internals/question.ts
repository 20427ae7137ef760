import * as tf from '@tensorflow/tfjs';
import { ActivationCache } from '../activations/cache.ts';
import { UsageError } from '../errors.ts';
import type { Florence2 } from '../florence2.ts';
import { generateSequences } from '../generation/generate.ts';
import { type GenerationOptions, resolveGeneration } from '../generation/options.ts';
import { CachedSession } from '../generation/session.ts';
import type { ImageSize } from '../geometry/types.ts';
import { Capture } from '../hooks/capture.ts';
import { type HookFilter, HookRegistry } from '../hooks/hooks.ts';
import { preprocess, toTensor } from '../image/preprocess.ts';
import type { DecodeOptions, ImageInput } from '../image/types.ts';
import { promptOf, type TaskArguments } from '../text/prompt.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { mapSize } from '../vision/davit.ts';

export interface QuestionOptions extends TaskArguments, DecodeOptions, GenerationOptions {
  /**
   * The answer that the decoder is given: a text as the model writes it (`A red car`, `car<loc_10>…`), or token ids
   * behind the start token. `</s>` is added where it is missing, to a text `<s>` as well. Default: the model's own
   * greedy answer.
   */
  answer?: string | readonly number[];
  /** Stops the model's own answer between two tokens. */
  signal?: AbortSignal;
}

/** Where a pass from the features begins. */
const FEATURES = 'multi_modal_projector.hook_image_features';

/** Where a forced pass may begin: what lies before is taken as it was when the question was asked. */
export type PassStart = 'pixels' | 'features' | 'memory';

interface QuestionParts {
  pixels: tf.Tensor4D;
  features: tf.Tensor3D;
  memory: tf.Tensor3D;
  imageSize: ImageSize;
  promptIds: readonly number[];
  answerIds: readonly number[];
  decoderIds: readonly number[];
  grid: [rows: number, columns: number];
  positions: string[];
  pointsFrom: Readonly<Record<'pixels' | 'features', readonly string[]>>;
}

/**
 * One question and its answer under teacher forcing: all positions in one pass. Its tensors are those of the model
 * without hooks, whatever hooks there are.
 */
export class Question {
  readonly pixels: tf.Tensor4D; // [1, H, W, 3]
  readonly features: tf.Tensor3D; // [1, 1 + N, D]
  /** The encoder's output. */
  readonly memory: tf.Tensor3D; // [1, S, D]
  /** Of the original image. */
  readonly imageSize: ImageSize;
  readonly promptIds: readonly number[];
  /** What the decoder is given: the start token, then the answer but for its last token. [T] */
  readonly decoderIds: readonly number[];
  /** What each position is to say; ends with `</s>`. [T] */
  readonly answerIds: readonly number[];
  /** Rows and columns of the image's map. */
  readonly grid: [rows: number, columns: number];
  /** What the encoder's S positions are: `mean`, `row,column` of the image's map, then the prompt's tokens as text. */
  readonly positions: string[];
  /** The hook points between pixels and features, and from the features on to the memory. */
  readonly pointsFrom: Readonly<Record<'pixels' | 'features', readonly string[]>>;

  /**
   * @param task a task token (`<OD>`), or a prompt of your own
   * @throws UsageError when the task is not given what it needs or an answer is empty, Florence2Error when the image
   *   cannot be read
   */
  static async ask(
    model: Florence2,
    image: ImageInput,
    task: string,
    options: QuestionOptions = {},
  ): Promise<Question> {
    const { decodeImage } = await import('../image/decode.ts');
    const raw = await decodeImage(image, options);
    const imageSize = { width: raw.width, height: raw.height };
    const prompt = promptOf(task, options, imageSize);
    const promptIds = model.tokenizer.encode(prompt);
    const recorder = new PassRecorder();
    const tensors = tf.tidy(() => {
      const pixels = toTensor(preprocess(raw, model.preprocessor)); // [1, H, W, 3]
      const features = model.model.encodeImage(pixels, recorder.begin('pixels'));
      const ids = tf.tensor2d([promptIds], undefined, 'int32');
      const { states } = model.model.encodePrompt(features, ids, null, recorder.begin('features'));
      return { pixels, features, memory: states };
    });
    try {
      const answerIds = await answerOf(model, tensors.memory, options);
      const decoderIds = [model.config.text.decoderStartTokenId, ...answerIds.slice(0, -1)];
      const [, height, width] = tensors.pixels.shape;
      const grid = mapSize(model.config.vision, height, width);
      return new Question({
        ...tensors,
        imageSize,
        promptIds,
        answerIds,
        decoderIds,
        grid,
        positions: encoderPositions(model.tokenizer, grid, promptIds),
        pointsFrom: recorder.pointsFrom,
      });
    } catch (error) {
      tf.dispose(Object.values(tensors));
      throw error;
    }
  }

  private constructor(parts: QuestionParts) {
    this.pixels = parts.pixels;
    this.features = parts.features;
    this.memory = parts.memory;
    this.imageSize = parts.imageSize;
    this.promptIds = parts.promptIds;
    this.answerIds = parts.answerIds;
    this.decoderIds = parts.decoderIds;
    this.grid = parts.grid;
    this.positions = parts.positions;
    this.pointsFrom = parts.pointsFrom;
  }

  dispose(): void {
    tf.dispose([this.pixels, this.features, this.memory]);
  }
}

export interface ForcedOptions {
  /** How many copies of the question run as one batch, so that hooks may treat each row in another way. Default 1. */
  rows?: number;
  /**
   * Where the pass begins. Default: as late as no hook is missed by, since without hooks the question's own tensors are
   * what would be computed.
   */
  from?: PassStart;
  /** Other images for the rows [rows, H, W, 3], normalised as `question.pixels`; the pass begins with them. */
  pixels?: tf.Tensor4D;
}

/**
 * Logits [rows, T, V] of every position of the answer, with the model's hooks. The caller disposes them.
 *
 * Tables of positions (`hook_pos_embed`, `hook_temporal_embed`) are shared by the rows, and have no axis for them.
 */
export function forcedLogits(model: Florence2, question: Question, options: ForcedOptions = {}): tf.Tensor3D {
  const { hooks, model: network } = model;
  const { pixels } = options;
  const rows = options.rows ?? pixels?.shape[0] ?? 1;
  if (!(Number.isSafeInteger(rows) && rows >= 1)) throw new UsageError(`rows must be a whole number, not ${rows}.`);
  if (pixels && (pixels.shape[0] !== rows || (options.from ?? 'pixels') !== 'pixels')) {
    throw new UsageError(`Images [${pixels.shape}] were given for ${rows} rows from ${options.from ?? 'pixels'}.`);
  }
  const from = pixels ? 'pixels' : (options.from ?? latestStart(hooks, question));
  const h = hooks.root();
  const ids = (of: readonly number[]) => tf.tile(tf.tensor2d([...of], [1, of.length], 'int32'), [rows, 1]);
  return tf.tidy(() => {
    const encode = (): tf.Tensor3D => {
      const features =
        from === 'pixels'
          ? network.encodeImage(pixels ?? repeat(question.pixels, rows), h)
          : h.at(FEATURES, repeat(question.features, rows)); // [rows, 1 + N, D]
      return network.encodePrompt(features, ids(question.promptIds), null, h).states;
    };
    // Rows may share one memory, and the keys and values made of it, where no hook changes them row by row.
    const ownKeys = hooks.meets(keyPoints(network.config.text.decoderLayers));
    const states = from === 'memory' ? repeat(question.memory, ownKeys ? rows : 1) : encode(); // [rows or 1, S, D]
    return network.logits(ids(question.decoderIds), { states, mask: null }, h);
  });
}

/**
 * A forced pass whose activations are kept. The caller disposes them.
 *
 * @throws UsageError for a name that the pass has no point of
 */
export function captureForced(
  model: Florence2,
  question: Question,
  names: HookFilter,
  options: ForcedOptions = {},
): ActivationCache {
  const cache = new ActivationCache();
  const capture = new Capture(model.hooks, names, cache);
  try {
    forcedLogits(model, question, options).dispose();
    capture.requireAll();
    return cache;
  } catch (error) {
    cache.dispose();
    throw error;
  } finally {
    capture.stop();
  }
}

const keyPoints = (layers: number): string[] =>
  Array.from({ length: layers }, (_, layer) =>
    ['hook_k', 'hook_v'].map(leaf => `language_model.decoder.layers.${layer}.encoder_attn.${leaf}`),
  ).flat();

/** The last place to begin at for which no hook would have run before. */
function latestStart(hooks: HookRegistry, { pointsFrom }: Question): PassStart {
  if (hooks.meets(pointsFrom.pixels)) return 'pixels';
  return hooks.meets(pointsFrom.features) ? 'features' : 'memory';
}

/** [1, …] -> [rows, …] */
export function repeat<T extends tf.Tensor>(tensor: T, rows = 1): T {
  return rows === 1 || tensor.shape[0] === rows
    ? tensor
    : (tf.tile(tensor, [rows, ...new Array<number>(tensor.rank - 1).fill(1)]) as T);
}

/** Notes which points a pass has. */
class PassRecorder {
  readonly pointsFrom: Record<'pixels' | 'features', string[]> = { pixels: [], features: [] };

  begin(part: 'pixels' | 'features') {
    const hooks = new HookRegistry();
    hooks.add('**', (_, { name }) => void this.pointsFrom[name === FEATURES ? 'features' : part].push(name));
    return hooks.root();
  }
}

/** The answer's ids, `</s>` at the end. */
async function answerOf(
  { model, tokenizer, generation, config }: Florence2,
  states: tf.Tensor3D,
  { answer, signal, ...options }: QuestionOptions,
): Promise<number[]> {
  const { decoderStartTokenId, eosTokenId } = resolveGeneration({}, generation, config.text);
  const ended = (ids: readonly number[]) => (ids.at(-1) === eosTokenId ? [...ids] : [...ids, eosTokenId]);
  if (typeof answer === 'string') return ended(tokenizer.encode(answer));
  if (answer) {
    const started = answer.length > 1 && answer[0] === decoderStartTokenId; // as `generate` returns them
    return ended(started ? answer.slice(1) : answer);
  }
  const greedy = { ...options, numBeams: 1, numReturnSequences: 1 };
  const session = new CachedSession(model, { states, mask: null }, 1, new HookRegistry());
  try {
    const settings = resolveGeneration(greedy, generation, config.text);
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
