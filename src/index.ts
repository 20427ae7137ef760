export type { Florence2Config, GenerationConfig, PreprocessorConfig, TextConfig, VisionConfig } from './config.ts';
export { Florence2Error, UsageError } from './errors.ts';
export {
  Florence2,
  type Florence2Parts,
  type LoadOptions,
  type Progress,
  type Request,
  type RunOptions,
  type StreamedToken,
} from './florence2.ts';
export type { GeneratedSequence } from './generation/decoding.ts';
export type { GenerationOptions } from './generation/options.ts';
export { type PixelValues, preprocess, toTensor } from './image/preprocess.ts';
export { resizeBicubic } from './image/resize.ts';
export type { DecodeOptions, ImageInput, RawImage } from './image/types.ts';
export { ImageFeatures } from './image_features.ts';
export { collectReport, type InspectOptions } from './inspect/collect.ts';
export { renderReport } from './inspect/html.ts';
export type { Report } from './inspect/report.ts';
export { ablate, meanAblation, meanActivation, resampleAblation, zeroAblation } from './internals/ablation.ts';
export { ActivationCache, type ActivationPart } from './internals/activation_cache.ts';
export { attentionLabels, overImage, type WeightsOverImage } from './internals/attention_labels.ts';
export {
  type AttentionKind,
  type AttentionLabels,
  type AttentionLayer,
  type AttentionMap,
  type AttentionOptions,
  attention,
  attentionPoints,
} from './internals/attention_maps.ts';
export { gradientsAt } from './internals/backward.ts';
export {
  type DiffOptions,
  type DiffReport,
  type DiffRow,
  diffRuns,
  type ImageDiff,
  type RunAnswer,
  type RunSpec,
} from './internals/diff.ts';
export { type FeatureOptions, FeatureReader } from './internals/features.ts';
export type { HookPointShape } from './internals/hook_points.ts';
export {
  type HookFilter,
  type HookFn,
  type HookOptions,
  type HookPoint,
  HookRegistry,
  type Hooks,
  noHooks,
  type ScopedHook,
  type StepFilter,
} from './internals/hooks.ts';
export type { Replacement } from './internals/intervention.ts';
export { type LogitAttribution, type LogitParts, lastLayerAttribution } from './internals/last_layer.ts';
export {
  alternatives,
  type LensLayer,
  type LensOptions,
  type LensReading,
  lensLogits,
  logitLens,
} from './internals/logit_lens.ts';
export { answerLogProb, logitDifference, logitOf, type Metric, type RowMetric } from './internals/metrics.ts';
export {
  type CheckpointReport,
  checkParity,
  type NotCompared,
  type ParityOptions,
  type ParityReport,
  type SequenceRow,
  type TensorRow,
  type TrainingRow,
  type VariantReport,
} from './internals/parity.ts';
export {
  type AblationGrid,
  ablationSweep,
  type Grid,
  type PatchBaselines,
  type PatchGrid,
  type PatchSubject,
  patch,
  patchSweep,
  type SweepOptions,
  type SweepPlan,
} from './internals/patching.ts';
export type { Prediction, TokenProbability } from './internals/predictions.ts';
export {
  captureForced,
  type ForcedOptions,
  forcedLogits,
  type PassStart,
  Question,
  type QuestionOptions,
} from './internals/question.ts';
export { encoderRollout, type RolloutOptions, rollout, tokenRelevance } from './internals/rollout.ts';
export type { CacheOptions } from './internals/run_with_cache.ts';
export {
  type GradCamOptions,
  gradCam,
  gradCamMap,
  gradientTimesInput,
  type IntegratedGradients,
  type IntegratedGradientsOptions,
  inputGradients,
  integratedGradients,
} from './internals/saliency.ts';
export type { Site } from './internals/site.ts';
export { steer, steeringVector } from './internals/steering.ts';
export { denseWindowAttention, type WindowAttentionMap, windowAttentionFrom } from './internals/window_maps.ts';
export { LayerCache } from './language/cache.ts';
export type { Memory } from './language/decoder.ts';
export { Florence2Model } from './model.ts';
export type { Answer, AnswerTokens } from './results/answer.ts';
export { type DrawOptions, draw } from './results/draw.ts';
export { filterByScore } from './results/filter.ts';
export { drawHeatmap, type Heatmap, type HeatmapOptions } from './results/heatmap.ts';
export { boxIou, maskIou } from './results/iou.ts';
export { encodeMask } from './results/mask_png.ts';
export { type Mask, maskArea, maskBounds, polygonsToMask } from './results/masks.ts';
export { type ParseOptions, parse } from './results/parse.ts';
export { compressCounts, decodeRle, decompressCounts, encodeRle, type RunLengths } from './results/rle.ts';
export type * from './results/types.ts';
export { type BackendChoice, type BackendName, useBackend } from './runtime/backend.ts';
export {
  binsToTokens,
  boxesToText,
  boxToTokens,
  dequantizeBox,
  dequantizePoints,
  pointsToTokens,
  quantizeBox,
  quantizePoints,
} from './text/locations.ts';
export { type TaskArguments, taskText } from './text/prompt.ts';
export {
  constructPrompt,
  findTask,
  resolveTask,
  suggestTask,
  TASKS,
  type Task,
  type TaskInfo,
  taskInfo,
} from './text/tasks.ts';
export { Tokenizer } from './text/tokenizer.ts';
export { Adapters, type LoadAdapterOptions } from './training/adapters.ts';
export { addTokens } from './training/add_tokens.ts';
export { checkAnswer, formatAnswer, parseAnswer, type TypedAnswer } from './training/answers.ts';
export { type AugmentOptions, augment, type DecodedExample } from './training/data/augment.ts';
export { checkDataset, type DatasetReport } from './training/data/check.ts';
export { collectDataset, type ImageTarget } from './training/data/collect.ts';
export type { WeightedDataset } from './training/data/mixture.ts';
export { datasetSplits, openDataset } from './training/data/open.ts';
export type { Dataset, Target, TrainingExample } from './training/example.ts';
export type { StepRecord, ValidationRecord } from './training/log/records.ts';
export {
  createLora,
  Lora,
  type LoraBias,
  type LoraInit,
  LoraLayer,
  type LoraOptions,
  type LoraSettings,
} from './training/lora.ts';
export { Evaluator, type EvaluatorOptions } from './training/metrics/evaluator.ts';
export { defaultTargets, type TargetOptions } from './training/targets.ts';
export { Trainer, type TrainerOptions, type TrainingSummary } from './training/trainer.ts';
export type { SaveAdapterOptions } from './training/write_adapter.ts';
