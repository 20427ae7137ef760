import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { writeAdapter } from '../adapters/write.ts';
import { writeCheckpoint } from '../checkpoint/write.ts';
import { UsageError } from '../errors.ts';
import { recoverFolder, replaceFolder } from '../files/write.ts';
import type { Florence2 } from '../florence2.ts';
import { openFolder } from '../platform/node.ts';
import { addTokens } from './add_tokens.ts';
import { Pace, type StepRecord, type ValidationRecord } from './log/records.ts';
import { RunLog } from './log/run_log.ts';
import type { WeightedDataset } from './mixture.ts';
import { learningRateAt } from './optimizer.ts';
import { resolveOptions, type TrainerOptions, type TrainerSettings } from './options.ts';
import { Plan } from './plan.ts';
import { type RunState, readRunState, writeRunState } from './run_state.ts';
import { ExampleReader, type StepImage } from './step_images.ts';
import { trainStep } from './train_step.ts';
import { ADAPTER, type TrainingContext, trainingContext } from './training_context.ts';
import { Validation } from './validation.ts';
import { frozenMaps } from './vision_maps.ts';

export type { TrainerOptions };

/** How a run ended. */
export interface TrainingSummary {
  /** Steps done, those before a resumption too. */
  steps: number;
  /** Of the last step; NaN where there was none. */
  loss: number;
  /** The validation with the lowest loss, whose weights are in `best`. */
  best: { step: number; loss: number } | null;
  /** True when it was stopped before its end: `resume` goes on from there. */
  stopped: boolean;
}

/**
 * Fine-tunes a model, in full or by a LoRA adapter.
 *
 * The output folder holds `latest`, from which a run can be resumed, and with a validation set `best`: each a checkpoint
 * of its own, or an adapter as PEFT saves it; besides metrics.jsonl, TensorBoard events and curves.svg. An adapter with
 * new tokens belongs to the checkpoint that is then in `base`. After `run` the model is the trained one, with the
 * adapter active.
 */
export class Trainer {
  private readonly settings: TrainerSettings;
  private readonly plan: Plan;
  private readonly context: TrainingContext;
  private readonly trainReader: ExampleReader;
  private readonly validReader: ExampleReader;
  private state: RunState = { step: 0, loss: null, validated: 0, best: null };

  /** @throws UsageError for an option that is out of its range or names nothing in the model */
  constructor(
    private readonly florence: Florence2,
    options: TrainerOptions,
  ) {
    const settings = resolveOptions(options);
    this.settings = settings;
    const { train, valid, seed, batchSize, accumulate, epochs, maxSteps, newTokens } = settings;
    const parts: WeightedDataset[] = Array.isArray(train) ? train : [{ dataset: train, weight: 1 }];
    const lengths = parts.map(({ dataset, weight }) => ({ length: dataset.length, weight }));
    this.plan = new Plan(lengths, seed, batchSize * accumulate, epochs, maxSteps);
    if (this.plan.totalSteps === 0) throw new UsageError('The training data is empty: there is nothing to learn from.');
    if (valid?.length === 0) throw new UsageError(`The validation data ${valid.name} is empty.`);
    if (newTokens) addTokens(florence, newTokens);
    this.context = trainingContext(florence, settings);
    const datasets = parts.map(({ dataset }) => dataset);
    const { tokenizer, config } = florence;
    this.trainReader = new ExampleReader('train', datasets, tokenizer, config.text, settings);
    this.validReader = new ExampleReader('valid', valid ? [valid] : [], tokenizer, config.text, { seed });
  }

  /**
   * Trains to the end. When `signal` aborts, the step in progress is finished, the run saved, and the summary says so.
   *
   * @throws Florence2Error when the loss stops being a number, naming step and samples; `latest` is what was saved before
   */
  async run({ signal }: { signal?: AbortSignal } = {}): Promise<TrainingSummary> {
    const { output } = this.settings;
    const { optimizer, maps } = this.context;
    await mkdir(output, { recursive: true });
    await this.restore();
    const log = await RunLog.open(output, { resumeFromStep: this.state.step });
    try {
      return await this.train(log, signal);
    } finally {
      optimizer.dispose();
      await maps.dispose();
      await log.close();
    }
  }

  private async train(log: RunLog, signal?: AbortSignal): Promise<TrainingSummary> {
    const pace = new Pace();
    let saved = this.state;
    let next = this.readAhead(this.state.step);
    for (;;) {
      if (this.validationIsDue()) await this.validate(log, signal);
      const ends = next === null || signal?.aborted;
      if (this.state !== saved && (ends || this.isDue(this.settings.saveEvery))) {
        await this.save('latest');
        saved = this.state;
      }
      if (next === null || ends) break;
      pace.resume();
      const images = await next;
      next = this.readAhead(this.state.step + 1); // decodes while this step computes
      await this.step(images, log, pace);
    }
    const { step, loss, best } = this.state;
    return { steps: step, loss: loss ?? Number.NaN, best, stopped: next !== null || this.validationIsDue() };
  }

  /** Begins to read the images of a step; null after the last. What it throws is thrown where it is awaited. */
  private readAhead(step: number): Promise<StepImage[]> | null {
    if (step >= this.plan.totalSteps) return null;
    const { epoch, draws } = this.plan.step(step);
    const { maps } = this.context;
    const images = Promise.all(draws.map(draw => this.trainReader.read(draw, epoch, key => maps.has(key))));
    images.catch(() => {});
    return images;
  }

  private async step(images: StepImage[], log: RunLog, pace: Pace): Promise<void> {
    const { totalSteps } = this.plan;
    const learningRate = learningRateAt(this.state.step, { ...this.settings, totalSteps });
    const { losses, gradNorm, targets } = await trainStep(images, this.context, learningRate, this.state.step);
    const step = this.state.step + 1;
    this.state = { ...this.state, step, loss: losses.mean };
    pace.add(targets);
    const record: StepRecord = {
      step,
      epoch: this.plan.epochsAt(step),
      loss: losses.mean,
      learningRate,
      gradNorm,
      samplesPerSecond: pace.perSecond,
      secondsLeft: (totalSteps - step) * pace.secondsPerStep,
      taskLosses: losses.byTask,
    };
    await log.step(record);
    this.settings.onStep?.(record);
  }

  /** Whether something that is done every so many steps, or at the end of each epoch, is to be done after this one. */
  private isDue(every: number | undefined): boolean {
    const { step } = this.state;
    return every === undefined ? this.plan.endsEpoch(step - 1) : step % every === 0 || step === this.plan.totalSteps;
  }

  private validationIsDue(): boolean {
    const { valid, validateEvery } = this.settings;
    return valid !== undefined && this.state.validated < this.state.step && this.isDue(validateEvery);
  }

  /** A validation that is stopped says nothing, and is made when the run goes on. */
  private async validate(log: RunLog, signal?: AbortSignal): Promise<void> {
    const { validateExamples = Number.POSITIVE_INFINITY, valid, onValidation } = this.settings;
    const validation = new Validation(this.florence);
    try {
      for (let i = 0; i < Math.min(valid!.length, validateExamples); i++) await this.validateOn(i, validation, signal);
    } catch (error) {
      if (signal?.aborted) return;
      throw error;
    }
    const { step, best } = this.state;
    const loss = validation.losses.mean;
    const record: ValidationRecord = {
      step,
      epoch: this.plan.epochsAt(step),
      loss,
      taskLosses: validation.losses.byTask,
      metrics: validation.answers.metrics(),
    };
    await log.validation(record);
    onValidation?.(record);
    const isBest = !best || loss < best.loss;
    this.state = { ...this.state, validated: step, best: isBest ? { step, loss } : best };
    if (isBest) await this.save('best');
  }

  private async validateOn(index: number, validation: Validation, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const { model, preprocessor } = this.florence;
    const { maps } = this.context;
    const image = await this.validReader.read({ part: 0, index }, 0, key => maps.has(key));
    const map = await frozenMaps(model, [image], preprocessor, maps);
    try {
      await validation.add(image, map, signal);
    } finally {
      map.dispose();
    }
  }

  /** `best` holds weights alone, `latest` all that a run goes on from. */
  private async save(which: 'latest' | 'best'): Promise<void> {
    const { florence, state } = this;
    const { lora, trainable, optimizer } = this.context;
    await replaceFolder(this.path(which), async folder => {
      if (lora) await writeAdapter(lora, folder, { layout: florence.config.dialect, baseModel: this.base() });
      else await writeCheckpoint(florence, openFolder(folder));
      if (which === 'latest') await writeRunState(folder, state, trainable, optimizer);
    });
  }

  /** Goes on from `latest` where there is one, and writes the checkpoint that an adapter with new tokens belongs to. */
  private async restore(): Promise<void> {
    const { resume, newTokens, output } = this.settings;
    const { lora, trainable, optimizer } = this.context;
    const { adapters } = this.florence;
    const results = [this.path('latest'), this.path('best')];
    for (const folder of results) await recoverFolder(folder);
    if (!resume && results.some(existsSync)) {
      throw new UsageError(`${output} holds a run already: resume it, or choose another output folder.`);
    }
    if (lora && newTokens && !existsSync(this.base())) {
      adapters.activate();
      await replaceFolder(this.base(), folder => writeCheckpoint(this.florence, openFolder(folder)));
      adapters.activate(ADAPTER);
    }
    if (!existsSync(this.path('latest'))) return;
    this.state = await readRunState(this.path('latest'), trainable, optimizer);
  }

  /** The checkpoint that an adapter is for. */
  private base(): string {
    return this.settings.newTokens ? resolve(this.path('base')) : this.florence.folder;
  }

  private path(name: 'latest' | 'best' | 'base'): string {
    return join(this.settings.output, name);
  }
}
