import * as tf from '@tensorflow/tfjs';
import { download } from '../activations/activation.ts';
import type { Dataset } from '../datasets/example.ts';
import { Evaluator } from '../evaluation/evaluator.ts';
import { noHooks } from '../hooks/hooks.ts';
import { ImageFeatures } from '../image/features.ts';
import { randomStream, shuffle } from '../random.ts';
import { collate, disposeBatch, labelWeights } from './batch.ts';
import type { ValidationMeans, ValidationOutcome, ValidationProgress } from './log/records.ts';
import { batchLosses, TaskMeans } from './losses.ts';
import type { Draw } from './mixture.ts';
import type { ShownAnswer } from './pictures.ts';
import type { StepImage } from './step_images.ts';
import type { TrainingContext } from './training_context.ts';
import { frozenMaps } from './vision_maps.ts';

/** Images whose answers are shown. */
const SHOWN = 8;

/** Most questions that are answered together: the decoder's keys and values of more would need gigabytes. */
const MOST_QUESTIONS = 32;

/**
 * Validates a model: the losses of true answers under teacher forcing, and the metrics of greedy answers. All validations
 * of a run use the same images.
 */
export class Validator {
  private readonly draws: Draw[];
  /** The images of which one answer each is shown: a random sample, by their order in it. */
  private readonly shown: Map<Draw, number>;

  /**
   * @param read reads an example; null for one that is left out
   * @param show receives some answers of each validation, always those about the same images
   */
  constructor(
    private readonly context: TrainingContext,
    private readonly datasets: readonly Dataset[],
    private readonly read: (draw: Draw) => Promise<StepImage | null>,
    private readonly show?: (answer: ShownAnswer) => void,
  ) {
    const { seed, validateExamples } = context.settings;
    this.draws = sampleDraws(datasets, validateExamples, seed);
    const sample = shuffle([...this.draws], randomStream(seed, 'shown')).slice(0, SHOWN);
    this.shown = new Map(sample.map((draw, i) => [draw, i]));
  }

  /** @throws the reason of `signal` if it aborts */
  async run(signal?: AbortSignal, onProgress?: ValidationProgress): Promise<ValidationOutcome> {
    const all = new Tally();
    const parts = this.datasets.map(() => new Tally());
    const { batchSize } = this.context.settings;
    for (let done = 0; done < this.draws.length; done += batchSize) {
      signal?.throwIfAborted();
      const draws = this.draws.slice(done, done + batchSize);
      const read = await Promise.all(draws.map(async draw => ({ draw, image: await this.read(draw) })));
      const images = read.flatMap(({ draw, image }) => (image ? [{ draw, image }] : []));
      if (images.length > 0) {
        await this.addImages(
          images,
          images.map(({ draw }) => [all, parts[draw.part]]),
          signal,
        );
      }
      onProgress?.(done + draws.length, this.draws.length);
    }
    if (parts.length === 1) return all.means();
    const datasets = parts.map((part, i) => ({ name: this.datasets[i].name, images: part.images, ...part.means() }));
    return { ...all.means(), datasets };
  }

  /** @param tallies those that count each image */
  private async addImages(read: DrawnImage[], tallies: Tally[][], signal?: AbortSignal): Promise<void> {
    const { florence, maps } = this.context;
    const images = read.map(({ image }) => image);
    const map = await frozenMaps(florence, images, maps); // [I, H/32, W/32, C]
    const features = florence.tidy(() =>
      tf.split(map, images.length).map(one => florence.model.projectMap(one as tf.Tensor4D, noHooks)),
    ); // each [1, 1 + N, D]
    map.dispose();
    try {
      for (const [i, image] of images.entries()) {
        await this.addLosses(image, features[i], tallies[i]);
        for (const tally of tallies[i]) tally.images++;
      }
      await this.addAnswers(read, features, tallies, signal);
    } finally {
      tf.dispose(features);
    }
  }

  private async addLosses({ tokenized }: StepImage, features: tf.Tensor3D, tallies: Tally[]): Promise<void> {
    const { florence, settings } = this.context;
    const { model, tokenizer } = florence;
    const weights = labelWeights(tokenized, { locationWeight: settings.locationWeight, tokenizer });
    const batch = collate(
      tokenized,
      tokenized.map(() => 0),
      weights,
      model.config.text,
    );
    try {
      const { values } = await download(florence.tidy(() => batchLosses(model, features, batch, 0, noHooks)));
      for (const [i, { task }] of tokenized.entries()) {
        const weight = weights[i].reduce((sum, value) => sum + value, 0);
        for (const { losses } of tallies) losses.add(task, values[i], weight);
      }
    } finally {
      disposeBatch(batch);
    }
  }

  private async addAnswers(
    read: DrawnImage[],
    features: tf.Tensor3D[],
    tallies: Tally[][],
    signal?: AbortSignal,
  ): Promise<void> {
    const questions = read.flatMap(({ draw, image: { imageSize, targets } }, i) => {
      const image = new ImageFeatures(features[i], imageSize);
      const shown = (this.shown.get(draw) ?? Number.NaN) % targets.length; // one of them, another kind for each image
      return targets.map((target, n) => ({ target, image, imageSize, tallies: tallies[i], draw, shown: n === shown }));
    });
    for (let first = 0; first < questions.length; first += MOST_QUESTIONS) {
      const asked = questions.slice(first, first + MOST_QUESTIONS);
      const requests = asked.map(({ image, target: { task, text, box } }) => ({ image, task, text, box }));
      const options = { numBeams: 1, doSample: false, keepUnicode: true, signal };
      const results = await this.context.florence.runBatch(requests, options);
      for (const [i, { target, imageSize, tallies, draw, shown }] of asked.entries()) {
        const found = results[i];
        for (const { answers } of tallies) answers.add(target, imageSize, found);
        const image = async () => (await this.datasets[draw.part].example(draw.index)).image;
        if (shown) this.show?.({ image, target, imageSize, found });
      }
    }
  }
}

/** An image and where it was drawn from. */
interface DrawnImage {
  draw: Draw;
  image: StepImage;
}

/** The losses and answers of one dataset, or of all. */
class Tally {
  images = 0;
  readonly losses = new TaskMeans();
  readonly answers = new Evaluator({ keepUnicode: true });

  means(): ValidationMeans {
    return { loss: this.losses.mean, taskLosses: this.losses.byTask, metrics: this.answers.metrics() };
  }
}

/** Returns all examples, or a random sample of all datasets together, in order. */
function sampleDraws(datasets: readonly Dataset[], most: number | undefined, seed: number): Draw[] {
  const all = datasets.flatMap(({ length }, part) => Array.from({ length }, (_, index) => ({ part, index })));
  if (most === undefined || all.length <= most) return all;
  const sample = new Set(shuffle([...all], randomStream(seed, 'validation')).slice(0, most));
  return all.filter(draw => sample.has(draw));
}
