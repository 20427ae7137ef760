import * as tf from '@tensorflow/tfjs';
import { type Activation, download } from '../activations/activation.ts';
import { type Florence2Error, UsageError } from '../errors.ts';
import type { Florence2 } from '../florence2.ts';
import { type ActivationSink, Capture } from '../hooks/capture.ts';
import { requirePoints } from '../hooks/filter.ts';
import { type ImageFeatures, promptAbout } from '../image/features.ts';
import { DECODE_OPTIONS, type DecodeOptions, type ImageInput } from '../image/types.ts';
import { onBackendOf } from '../nn/on_backend.ts';
import { abortSignal, anything, checkOptions, count, type OptionTable, oneOf, pickOptions } from '../options.ts';
import { type ErrorMode, skipErrors } from '../skip_errors.ts';
import { TASK_ARGUMENTS, type TaskArguments } from '../text/prompt.ts';
import { forcedLogits } from './forced_pass.ts';
import { Question } from './question.ts';

/** Options of `FeatureReader`. */
export interface FeatureOptions extends TaskArguments, DecodeOptions {
  /** A task token or a prompt. Required for points of the language model. */
  task?: string;
  /** `mean` averages over all axes but the last, so that each image becomes one vector [C]. Default `none`. */
  pool?: 'mean' | 'none';
  /** Maximum length of the generated answer in tokens, for points of the decoder. Default 1024. */
  maxNewTokens?: number;
  /** Aborts the generation of answers between two tokens; its reason is thrown. */
  signal?: AbortSignal;
}

const FEATURE_OPTIONS: OptionTable<FeatureOptions> = {
  ...{ ...TASK_ARGUMENTS, ...DECODE_OPTIONS },
  ...{ task: anything, pool: oneOf('mean', 'none'), maxNewTokens: count, signal: abortSignal },
};

/** How much of the model runs: the vision tower, the encoder as well, or the decoder as well. */
type Reach = 'image' | 'prompt' | 'answer';

/**
 * Reads the activations of many images at one hook point. Only the parts of the model up to that point run: vision
 * tower and projector; with a task also the encoder on the prompt and, for points of the decoder, the decoder on the
 * model's own greedy answer, all positions in one pass.
 */
export class FeatureReader {
  /** Name of the hook point that `at` matched; set by the first `read`. */
  point?: string;
  private reach?: Reach;

  /**
   * @param at the name of a hook point, or a glob that matches exactly one
   * @throws UsageError that suggests the nearest names if it matches none
   */
  constructor(
    private readonly model: Florence2,
    private readonly at: string,
    private readonly options: FeatureOptions = {},
  ) {
    checkOptions('FeatureReader', options, FEATURE_OPTIONS);
    requirePoints(at, model.model.hookNames);
  }

  /**
   * Returns the activation of each image, without the batch axis.
   *
   * @param options.onError what an image that fails does: `throw` ends the call with its error, `skip` returns the error
   *   in the place of the activation. Default `throw`
   * @throws UsageError if no point or several points match `at`, or the point is the same for every image
   */
  read(images: readonly ImageInput[], options?: { onError?: 'throw' }): Promise<Activation[]>;
  read(images: readonly ImageInput[], options: { onError?: ErrorMode }): Promise<(Activation | Florence2Error)[]>;
  async read(
    images: readonly ImageInput[],
    options: { onError?: ErrorMode } = {},
  ): Promise<(Activation | Florence2Error)[]> {
    checkOptions('read', options, { onError: oneOf('throw', 'skip') });
    return options.onError === 'skip' ? skipErrors(images, some => this.readAll(some)) : this.readAll(images);
  }

  private async readAll(images: readonly ImageInput[]): Promise<Activation[]> {
    const found = new CapturedPoint();
    const capture = new Capture(this.at, found);
    const model = this.model.withAdapter().withHooks([capture.hook]);
    try {
      let { orientation } = this.options;
      for (const reach of this.reaches()) {
        await this.run(model, reach, images, orientation);
        orientation ??= 'stored'; // chosen, so that another pass does not warn of turned images again
        if (found.empty) continue;
        this.reach = reach;
        this.point = found.point(this.at);
        return await found.rows(images.length, this.options.pool === 'mean');
      }
      return this.failNotFound(capture);
    } finally {
      found.dispose();
    }
  }

  private reaches(): Reach[] {
    if (this.reach) return [this.reach];
    return this.options.task === undefined ? ['image'] : ['image', 'prompt', 'answer'];
  }

  private async run(
    model: Florence2,
    reach: Reach,
    images: readonly ImageInput[],
    orientation: DecodeOptions['orientation'],
  ): Promise<void> {
    const { task, pool: _, ...options } = { ...this.options, orientation };
    if (reach === 'answer') {
      // One at a time, because answers differ in length.
      for (const image of images) {
        const question = await Question.ask(model, image, task!, options);
        try {
          forcedLogits(model, question).dispose();
        } finally {
          question.dispose();
        }
      }
      return;
    }
    const features = await model.encodeImages([...images], pickOptions(options, DECODE_OPTIONS));
    try {
      if (reach === 'prompt') this.encodePrompt(model, features);
    } finally {
      for (const image of features) image.dispose();
    }
  }

  private encodePrompt(call: Florence2, features: ImageFeatures[]): void {
    const { model, tokenizer, hooks } = call;
    const { text, box } = this.options;
    const task = this.options.task!;
    const ids = features.map(image => tokenizer.encode(promptAbout(image, { task, text, box }))); // of equal length: a location is one token
    call.tidy(() => {
      const rows = tf.concat(features.map(({ tensor }) => tensor)) as tf.Tensor3D; // [B, 1 + N, D]
      const prompts = tf.tensor2d(ids, undefined, 'int32'); // [B, T]
      model.encodePrompt(rows, prompts, null, hooks.root());
    });
  }

  private failNotFound(capture: Capture): never {
    if (this.options.task === undefined && /^(language_model\.|hook_)/.test(this.at)) {
      throw new UsageError(`${this.at} belongs to the language model, which runs only with a task: set options.task.`);
    }
    capture.requireAll(); // its error suggests a similar name
    throw new UsageError(`No hook point is named ${this.at}.`);
  }
}

/** The activations of one `read`: one tensor for all images, or one per image if they run one at a time. */
class CapturedPoint implements ActivationSink {
  private readonly tensors = new Map<string, tf.Tensor[]>();

  get empty(): boolean {
    return this.tensors.size === 0;
  }

  put(name: string, _step: number | undefined, tensor: tf.Tensor): void {
    this.tensors.set(name, [...(this.tensors.get(name) ?? []), tf.keep(tensor)]);
  }

  point(at: string): string {
    const names = [...this.tensors.keys()];
    if (names.length > 1) {
      const some = `${names.slice(0, 3).join(', ')}${names.length > 3 ? ', …' : ''}`;
      throw new UsageError(`${at} matches ${names.length} hook points; name one of them: ${some}`);
    }
    if (/hook_(pos|temporal)_embed$/.test(names[0])) {
      throw new UsageError(`${names[0]} is a position embedding, which is the same for every image.`);
    }
    return names[0];
  }

  /** Splits tensors [B, …] or [B · windows, …] into one activation per image. */
  async rows(images: number, pooled: boolean): Promise<Activation[]> {
    const tensors = [...this.tensors.values()].flat();
    const each = images / tensors.length;
    const rows: Activation[] = [];
    for (const tensor of tensors) {
      const perImage = tensor.shape[0] / each;
      const shape = [...(perImage === 1 ? [] : [perImage]), ...tensor.shape.slice(1)];
      const [C] = shape.slice(-1);
      const batch = onBackendOf(tensor, () =>
        tf.tidy(() => (pooled ? tf.mean(tf.reshape(tensor, [each, -1, C]), 1) : tf.clone(tensor))),
      );
      const { values } = await download(batch);
      const size = values.length / each;
      for (let i = 0; i < each; i++) {
        rows.push({ values: values.subarray(i * size, (i + 1) * size), shape: pooled ? [C] : shape });
      }
    }
    return rows;
  }

  dispose(): void {
    tf.dispose([...this.tensors.values()].flat());
  }
}
