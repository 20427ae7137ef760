import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { writeAdapter } from '../adapters/write.ts';
import { writeCheckpoint } from '../checkpoint/write.ts';
import { lengthLimits } from '../datasets/tokenize.ts';
import { Florence2Error, UsageError } from '../errors.ts';
import { withLock } from '../files/lock.ts';
import { recoverFolder, removeAbandoned, replaceFolder } from '../files/write.ts';
import type { Florence2 } from '../florence2.ts';
import { abortSignal, callback, checkOptions } from '../options.ts';
import { openFolder } from '../platform/node.ts';
import { addTokens } from './add_tokens.ts';
import { type BestValidation, Criterion } from './best.ts';
import { KeptSaves } from './kept_saves.ts';
import { Pace } from './log/pace.ts';
import type { StepRecord, ValidationRecord } from './log/records.ts';
import { RunLog } from './log/run_log.ts';
import { LossTrend } from './loss_trend.ts';
import type { Draw, WeightedDataset } from './mixture.ts';
import { learningRateAt } from './optimizer.ts';
import { resolveOptions, type TrainerOptions, type TrainerSettings } from './options.ts';
import { RunPictures } from './pictures.ts';
import { Plan } from './plan.ts';
import { checkIdentity, runIdentity } from './run_identity.ts';
import { type RunState, readRunState, writeRunState } from './run_state.ts';
import { ExampleReader, type StepImage } from './step_images.ts';
import { trainStep } from './train_step.ts';
import { ADAPTER, type TrainingContext, trainingContext } from './training_context.ts';
import { Validator } from './validation.ts';

/** The outcome of a run. */
export interface TrainingSummary {
  /** Steps completed, including those before the run was resumed. */
  steps: number;
  /** Loss of the last step; NaN if no step ran. */
  loss: number;
  /** The best validation, whose weights are in `best/`; null if none ran. */
  best: BestValidation | null;
  /** Whether the run ended before its last step, because `patience` validations brought nothing better. */
  endedEarly: boolean;
  /** Whether the run was stopped before its end. It can be continued with the option `resume`. */
  stopped: boolean;
  /** With `skipBad`: a message for each example that was left out, which begins with its source. */
  skipped: string[];
}

/** Options of `Trainer.run`. */
export interface RunOptions {
  /** Aborting it stops the run after the current step, and saves it. */
  signal?: AbortSignal;
  /** Called before the first step, when the output folder is locked and the run to resume is read. */
  onStart?: () => Promise<void>;
}

/**
 * Fine-tunes a model, in full or with a LoRA adapter.
 *
 * The output folder receives `latest/`, from which a run can be resumed, and with validation data `best/`. Both contain
 * a complete checkpoint, or with LoRA an adapter in PEFT's format. The folder also receives metrics.jsonl, metrics.csv,
 * TensorBoard events and curves.svg. For an adapter with new tokens, `base/` contains the checkpoint to load it onto. After `run`,
 * the model in memory is the trained one, with the adapter active.
 */
export class Trainer {
  private readonly settings: TrainerSettings;
  private readonly plan: Plan;
  private readonly context: TrainingContext;
  private readonly trainReader: ExampleReader;
  private readonly validator: Validator | null;
  private readonly criterion: Criterion;
  private readonly kept: KeptSaves;
  private readonly pictures: RunPictures | null;
  /** Messages about the examples that were left out, by their keys. */
  private readonly skipped = new Map<string, string>();
  private state: RunState = { step: 0, loss: null, validated: 0, best: null, sinceBest: 0 };

  /** @throws UsageError for an option that is out of range or names nothing in the model, and for empty datasets */
  constructor(
    private readonly florence: Florence2,
    options: TrainerOptions,
  ) {
    const settings = resolveOptions(options);
    this.settings = settings;
    const { train, seed, batchSize, accumulate, epochs, maxSteps, newTokens, bestBy } = settings;
    const valid = [settings.valid ?? []].flat();
    const parts: WeightedDataset[] = Array.isArray(train) ? train : [{ dataset: train, weight: 1 }];
    const lengths = parts.map(({ dataset, weight }) => ({ length: dataset.length, weight }));
    this.plan = new Plan(lengths, seed, batchSize * accumulate, epochs, maxSteps);
    if (this.plan.totalSteps === 0) throw new UsageError('The training data is empty.');
    for (const { name, length } of valid) {
      if (length === 0) throw new UsageError(`The validation data ${name} is empty.`);
    }
    this.criterion = new Criterion(bestBy);
    this.kept = new KeptSaves(settings.output, settings.keepLast);
    this.pictures = settings.pictures ? new RunPictures(settings.output, settings.onWarning) : null;
    if (newTokens) addTokens(florence, newTokens);
    this.context = trainingContext(florence, settings);
    const datasets = parts.map(({ dataset }) => dataset);
    const { tokenizer } = florence;
    const limits = lengthLimits(florence.config, florence.preprocessor);
    this.trainReader = new ExampleReader('train', datasets, tokenizer, limits, settings);
    const validReader = new ExampleReader('valid', valid, tokenizer, limits, { seed });
    const read = (draw: Draw) => this.read(validReader, draw, 0);
    this.validator =
      valid.length > 0 ? new Validator(this.context, valid, read, answer => this.pictures?.answer(answer)) : null;
  }

  /**
   * Trains to the end. If `signal` aborts, finishes the current step, saves the run, and returns a summary with
   * `stopped`.
   *
   * @throws Florence2Error if the loss or the gradients are not finite, naming the step and its examples, or if the loss
   *   diverges; `latest/` stays as last saved
   * @throws Florence2Error for an example that cannot be read, after a save, unless `skipBad` is set
   * @throws UsageError if the output folder already contains a run and `resume` is not set, or if the run to resume has
   *   other data or options and `force` is not set
   * @throws Florence2Error if another process trains in the output folder
   */
  async run(options: RunOptions = {}): Promise<TrainingSummary> {
    checkOptions('Trainer.run', options, { signal: abortSignal, onStart: callback });
    const { signal, onStart } = options;
    const { output } = this.settings;
    const { optimizer, maps } = this.context;
    try {
      return await withLock(join(output, '.lock'), `training in ${output}`, () => this.runAlone(onStart, signal));
    } finally {
      optimizer.dispose();
      await maps.dispose();
    }
  }

  /** Trains while this process holds the output folder. */
  private async runAlone(onStart?: () => Promise<void>, signal?: AbortSignal): Promise<TrainingSummary> {
    await this.restore();
    await onStart?.();
    const log = await RunLog.open(this.settings.output, { resumeFromStep: this.state.step });
    try {
      return await this.train(log, signal);
    } finally {
      await log.close();
    }
  }

  private async train(log: RunLog, signal?: AbortSignal): Promise<TrainingSummary> {
    const pace = new Pace();
    const trend = new LossTrend(this.state.trend);
    let saved = this.state;
    const saveLatest = async (): Promise<void> => {
      if (this.state === saved) return;
      await log.flush();
      await this.save('latest');
      saved = this.state;
    };
    // The steps so far do not depend on the example that cannot be read.
    const saveAndThrow = async (error: unknown): Promise<never> => {
      await saveLatest();
      throw error;
    };
    let next = this.readAhead(this.state.step);
    for (;;) {
      if (this.validationIsDue()) {
        await this.validate(log, signal).catch(error => saveAndThrow(error));
        pace.addValidation();
      }
      const ends = next === null || signal?.aborted || this.patienceIsOver();
      if (ends || this.plan.isDue(this.state.step, this.settings.saveEvery)) await saveLatest();
      if (next === null || ends) break;
      pace.resume();
      const images = await next.catch(saveAndThrow);
      next = this.readAhead(this.state.step + 1); // decodes the next images while this step computes
      if (images.length > 0) await this.step(images, log, pace, trend);
      else this.state = { ...this.state, step: this.state.step + 1 };
    }
    const { step, loss, best } = this.state;
    const endedEarly = next !== null && this.patienceIsOver();
    const stopped = (next !== null && !endedEarly) || this.validationIsDue();
    return { steps: step, loss: loss ?? Number.NaN, best, stopped, endedEarly, skipped: [...this.skipped.values()] };
  }

  /** Starts to read the images of a step; null after the last step. Errors are thrown where the promise is awaited. */
  private readAhead(step: number): Promise<StepImage[]> | null {
    if (step >= this.plan.totalSteps) return null;
    const { epoch, draws } = this.plan.step(step);
    const images = Promise.all(draws.map(draw => this.read(this.trainReader, draw, epoch))).then(read =>
      read.filter(image => image !== null),
    );
    images.catch(() => {});
    return images;
  }

  /** Reads an example; null for one that cannot be read and is left out. */
  private async read(reader: ExampleReader, draw: Draw, epoch: number): Promise<StepImage | null> {
    const { maps } = this.context;
    try {
      return await reader.read(draw, epoch, key => maps.has(key));
    } catch (error) {
      if (!this.settings.skipBad || !(error instanceof Florence2Error)) throw error;
      this.skipped.set(reader.keyOf(draw), error.message);
      return null;
    }
  }

  private async step(images: StepImage[], log: RunLog, pace: Pace, trend: LossTrend): Promise<void> {
    const { totalSteps } = this.plan;
    const { validateEvery } = this.settings;
    const learningRate = learningRateAt(this.state.step, { ...this.settings, totalSteps });
    const { losses, gradNorm, targets } = await trainStep(images, this.context, learningRate, this.state.step);
    const step = this.state.step + 1;
    await this.pictures?.step(step, images);
    trend.add(step, losses.mean);
    this.state = { ...this.state, step, loss: losses.mean, trend: trend.saved };
    pace.add(targets);
    const record: StepRecord = {
      step,
      epoch: this.plan.epochsAt(step),
      loss: losses.mean,
      learningRate,
      gradNorm,
      samplesPerSecond: pace.perSecond,
      secondsLeft: pace.secondsFor(
        totalSteps - step,
        this.validator ? this.plan.timesAfter(step - 1, validateEvery) : 0,
      ),
      taskLosses: losses.byTask,
    };
    await log.step(record);
    this.settings.onStep?.(record);
  }

  private validationIsDue(): boolean {
    const { step, validated } = this.state;
    return this.validator !== null && validated < step && this.plan.isDue(step, this.settings.validateEvery);
  }

  private patienceIsOver(): boolean {
    return this.state.sinceBest >= (this.settings.patience ?? Number.POSITIVE_INFINITY);
  }

  /** Validates, and saves the weights if they are the best so far. An aborted validation is repeated after resuming. */
  private async validate(log: RunLog, signal?: AbortSignal): Promise<void> {
    const { onValidation, onValidationProgress, bestBy } = this.settings;
    const { step, best, sinceBest } = this.state;
    const outcome = await this.validator!.run(signal, onValidationProgress).catch(error => {
      if (!signal?.aborted) throw error;
    });
    if (!outcome) return;
    const record: ValidationRecord = { step, epoch: this.plan.epochsAt(step), ...outcome };
    await log.validation(record);
    await this.pictures?.validation(step);
    onValidation?.(record);
    const value = this.criterion.valueOf(record);
    const isBest = this.criterion.isBetter(value, best);
    this.state = {
      ...this.state,
      validated: step,
      best: isBest ? { step, loss: record.loss, by: bestBy, value } : best,
      sinceBest: isBest ? 0 : sinceBest + 1,
    };
    if (isBest) await this.save('best');
  }

  /** Saves the weights; `latest` also gets the state for resuming. */
  private async save(which: 'latest' | 'best'): Promise<void> {
    const { florence, state } = this;
    const { lora, trainable, optimizer } = this.context;
    const target = this.path(which);
    const write = async (folder: string): Promise<void> => {
      if (lora) await writeAdapter(lora, folder, { layout: florence.config.dialect, baseModel: this.base() });
      else await writeCheckpoint(florence, openFolder(folder));
      if (which === 'latest') await writeRunState(folder, state, trainable, optimizer);
    };
    const keep = which === 'latest' ? this.kept.next : undefined;
    await replaceFolder(target, write, keep).catch(error => {
      if (!(error instanceof Florence2Error) || !existsSync(target)) throw error;
      throw new Florence2Error(`${error.message} The previous save in ${target} is kept.`, { cause: error });
    });
    if (which === 'best') return;
    await this.kept.add(state.step);
  }

  /** Loads the state of `latest` if it exists. Writes `base` for an adapter with new tokens. */
  private async restore(): Promise<void> {
    const { resume, force, newTokens, output } = this.settings;
    const { lora, trainable, optimizer } = this.context;
    const { adapters } = this.florence;
    const results = [this.path('latest'), this.path('best')];
    for (const folder of results) await recoverFolder(folder);
    await this.kept.recover(results[0]);
    for (const folder of [output, this.path('pictures')]) if (existsSync(folder)) await removeAbandoned(folder);
    if (!resume && results.some(existsSync)) {
      throw new UsageError(
        `${output} already contains a run: set resume to continue it, or choose another output folder.`,
      );
    }
    if (lora && newTokens && !existsSync(this.base())) {
      adapters.activate();
      await replaceFolder(this.base(), folder => writeCheckpoint(this.florence, openFolder(folder)));
      adapters.activate(ADAPTER);
    }
    const identity = await runIdentity(this.settings);
    if (existsSync(this.path('latest'))) {
      this.state = await readRunState(this.path('latest'), trainable, optimizer, this.florence.model, before => {
        if (before.identity && !force) checkIdentity(before.identity, identity, output);
      });
      await this.kept.add(this.state.step);
    }
    this.state = { ...this.state, identity };
  }

  /** The folder of the checkpoint that the adapter is trained on. */
  private base(): string {
    return this.settings.newTokens ? resolve(this.path('base')) : this.florence.folder;
  }

  private path(name: 'latest' | 'best' | 'base' | 'pictures'): string {
    return join(this.settings.output, name);
  }
}
