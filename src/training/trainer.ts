import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { UsageError } from '../errors.ts';
import type { Florence2 } from '../florence2.ts';
import { HookRegistry } from '../internals/hooks.ts';
import type { Parameter } from '../nn/params.ts';
import { writeCheckpoint } from '../weights/write_checkpoint.ts';
import { untrainable } from './backend_gradients.ts';
import type { WeightedDataset } from './data/mixture.ts';
import { addDropout, dropout } from './dropout.ts';
import { FeatureCache } from './feature_cache.ts';
import { recoverFolder, replaceFolder } from './folders.ts';
import type { StepRecord, ValidationRecord } from './log/records.ts';
import { RunLog } from './log/run_log.ts';
import type { Lora } from './lora.ts';
import { AdamW, decaysByDefault } from './optimizer.ts';
import { resolveOptions, type TrainerOptions, type TrainerSettings } from './options.ts';
import { Pace } from './pace.ts';
import { Plan, type PlannedStep } from './plan.ts';
import { type RunState, readRunState, writeRunState } from './run_state.ts';
import { learningRateAt } from './schedule.ts';
import { ExampleReader, type StepImage } from './step_images.ts';
import { type StepOutcome, trainStep } from './train_step.ts';
import { trainableParameters } from './trainable.ts';
import { Validation } from './validation.ts';
import { frozenMaps } from './vision_maps.ts';
import { writeAdapter } from './write_adapter.ts';

export type { TrainerOptions };

/** How a run ended. */
export interface TrainingSummary {
  /** Steps done, those before a resumption too. */
  steps: number;
  /** Of the last step. */
  loss: number;
  /** The validation with the lowest loss, whose weights are in `best`. */
  best: { step: number; loss: number } | null;
  /** True when it was stopped before its end: `resume` goes on from there. */
  stopped: boolean;
}

/** Name of the adapter that a run trains. */
const ADAPTER = 'training';

function checkBackend(trainable: readonly Parameter[], backend: string): void {
  const wrong = untrainable(trainable, backend);
  if (!wrong) return;
  throw new UsageError(
    `The ${backend} backend cannot train ${wrong.name}: ${wrong.reason}. Train a LoRA adapter of the language model there, or use tensorflow, webgpu or cpu.`,
  );
}

/**
 * Fine-tunes a model, in full or by a LoRA adapter.
 *
 * The output folder holds `latest`, from which a run can be resumed, and with a validation set `best`: each a checkpoint
 * of its own, or an adapter as PEFT saves it; besides metrics.jsonl, TensorBoard events and curves.svg. After `run` the
 * model is the trained one, with the adapter active.
 */
export class Trainer {
  private readonly settings: TrainerSettings;
  private readonly parts: WeightedDataset[];
  private readonly plan: Plan;
  private readonly hooks = new HookRegistry();
  private readonly lora: Lora | null;
  private readonly trainable: Parameter[];
  private readonly optimizer: AdamW;
  private readonly cache: FeatureCache;
  private readonly reader: ExampleReader;
  /** Whether the vision tower is run backward. */
  private readonly visionLearns: boolean;
  private state: RunState = { step: 0, best: null };

  /** @throws UsageError for an option that is out of its range or names nothing in the model */
  constructor(
    private readonly florence: Florence2,
    options: TrainerOptions,
  ) {
    const { model, tokenizer, config } = florence;
    const settings = resolveOptions(options);
    this.settings = settings;
    this.parts = Array.isArray(settings.train) ? settings.train : [{ dataset: settings.train, weight: 1 }];
    const parts = this.parts.map(({ dataset, weight }) => ({ length: dataset.length, weight }));
    const imagesPerStep = settings.batchSize * settings.accumulate;
    this.plan = new Plan(parts, settings.seed, imagesPerStep, settings.epochs, settings.maxSteps);
    if (this.plan.totalSteps === 0) throw new UsageError('The training data is empty: there is nothing to learn from.');
    this.lora = settings.lora ? florence.adapters.create(ADAPTER, { seed: settings.seed, ...settings.lora }) : null;
    this.trainable = this.lora ? this.lora.parameters : trainableParameters(model, settings.freeze);
    checkBackend(this.trainable, florence.backend.name);
    this.visionLearns = this.trainable.some(({ name }) => name.startsWith('vision_tower.'));
    const decays = settings.decay === 'all' ? () => true : decaysByDefault;
    this.optimizer = new AdamW({ ...settings, decays });
    const store = this.visionLearns || settings.augment ? 'off' : settings.featureCache;
    this.cache = new FeatureCache(store, join(settings.output, 'features'), settings.featureCacheBytes);
    const datasets = this.parts.map(({ dataset }) => dataset);
    this.reader = new ExampleReader(datasets, tokenizer, config.text, settings);
  }

  /**
   * Trains to the end. When `signal` aborts, the step in progress is finished, the run saved, and the summary says so.
   *
   * @throws Florence2Error when the loss stops being a number, naming step and samples; `latest` is what was saved before
   */
  async run({ signal }: { signal?: AbortSignal } = {}): Promise<TrainingSummary> {
    const { output, resume } = this.settings;
    await mkdir(output, { recursive: true });
    await this.restore(resume);
    const log = await RunLog.open(output, { resumeFromStep: this.state.step });
    const stopDropout = this.addDropout();
    try {
      return await this.train(log, signal);
    } finally {
      stopDropout();
      this.optimizer.dispose();
      await this.cache.dispose();
      await log.close();
    }
  }

  private async train(log: RunLog, signal?: AbortSignal): Promise<TrainingSummary> {
    const { validateEvery, saveEvery, valid } = this.settings;
    const { totalSteps } = this.plan;
    const pace = new Pace();
    let loss = Number.NaN;
    let next = this.readStep(this.state.step);
    while (this.state.step < totalSteps && !signal?.aborted) {
      const { planned, images } = await next;
      next = this.readStep(planned.step + 1); // decodes while this step computes
      next.catch(() => {}); // thrown when it is awaited
      const outcome = await this.step(planned, images);
      loss = outcome.losses.mean;
      this.state.step++;
      await this.record(log, outcome, pace);
      const { step } = this.state;
      const due = (every: number | undefined): boolean =>
        every === undefined ? this.plan.endsEpoch(planned.step) : step % every === 0 || step === totalSteps;
      if (valid && due(validateEvery)) await this.validate(log, signal);
      if (due(saveEvery)) await this.save('latest');
      pace.resume();
    }
    const stopped = this.state.step < totalSteps;
    if (stopped) await this.save('latest');
    return { steps: this.state.step, loss, best: this.state.best, stopped };
  }

  private async readStep(step: number): Promise<{ planned: PlannedStep; images: StepImage[] }> {
    if (step >= this.plan.totalSteps) return { planned: { step, epoch: 0, draws: [] }, images: [] };
    const planned = this.plan.step(step);
    const hasMap = (key: string): boolean => this.cache.has(key);
    const images = await Promise.all(planned.draws.map(draw => this.reader.read(draw, planned.epoch, hasMap)));
    return { planned, images };
  }

  private async step(planned: PlannedStep, images: StepImage[]): Promise<StepOutcome> {
    const { florence, settings, trainable, hooks, cache, visionLearns } = this;
    const rate = learningRateAt(planned.step, { ...settings, totalSteps: this.plan.totalSteps });
    const { optimizer } = this;
    return trainStep(
      images,
      { florence, settings, trainable, hooks, cache, visionLearns, optimizer },
      rate,
      planned.step,
    );
  }

  private async record(log: RunLog, outcome: StepOutcome, pace: Pace): Promise<void> {
    const { step } = this.state;
    pace.add(outcome.targets);
    const record: StepRecord = {
      step,
      epoch: this.plan.epochsAt(step),
      loss: outcome.losses.mean,
      learningRate: outcome.learningRate,
      gradNorm: outcome.gradNorm,
      samplesPerSecond: pace.perSecond,
      secondsLeft: (this.plan.totalSteps - step) * pace.secondsPerStep,
      taskLosses: outcome.losses.byTask,
    };
    await log.step(record);
    this.settings.onStep?.(record);
  }

  private async validate(log: RunLog, signal?: AbortSignal): Promise<void> {
    const { valid, validateExamples = Number.POSITIVE_INFINITY, onValidation } = this.settings;
    const { step, best } = this.state;
    const validation = new Validation(this.florence);
    const count = Math.min(valid!.length, validateExamples);
    for (let i = 0; i < count && !signal?.aborted; i++) {
      const example = await valid!.example(i);
      const image = await this.reader.prepareExample(example, `valid-${i}`, 0, key => this.cache.has(key));
      const map = await frozenMaps(this.florence.model, [image], this.florence.preprocessor, this.cache);
      try {
        await validation.add({ image, example, map });
      } finally {
        map.dispose();
      }
    }
    if (signal?.aborted) return; // half a validation says nothing
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
    if (best && best.loss <= loss) return;
    this.state.best = { step, loss };
    await this.save('best');
  }

  /** `best` holds weights alone, `latest` all that a run goes on from. */
  private async save(which: 'latest' | 'best'): Promise<void> {
    const { florence, lora, state, trainable, optimizer, settings } = this;
    await replaceFolder(join(settings.output, which), async folder => {
      if (lora) await writeAdapter(lora, folder, { layout: florence.config.dialect, baseModel: florence.folder });
      else await writeCheckpoint(florence.model, florence.folder, folder);
      if (which === 'latest') await writeRunState(folder, state, trainable, optimizer);
    });
  }

  private async restore(resume: boolean): Promise<void> {
    const latest = join(this.settings.output, 'latest');
    await recoverFolder(latest);
    await recoverFolder(join(this.settings.output, 'best'));
    if (!existsSync(latest)) return;
    if (!resume) {
      throw new UsageError(`${this.settings.output} holds a run already: resume it, or choose another output folder.`);
    }
    this.state = await readRunState(latest, this.trainable, this.optimizer);
  }

  /** Dropout in the language model and drop path, where these parts learn; and LoRA's own. Returns what removes them. */
  private addDropout(): () => void {
    const { florence, lora, settings } = this;
    const at = () => ({ seed: settings.seed, step: this.state.step });
    const remove = settings.dropout ? addDropout(this.hooks, florence.config, at) : () => {};
    if (lora && settings.dropout) {
      lora.inputDropout = (x, name) => dropout(x, lora.settings.dropout, at(), `${name}.lora`);
    }
    return () => {
      remove();
      if (lora) lora.inputDropout = null;
    };
  }
}
