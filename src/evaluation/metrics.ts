/**
 * The metrics alone, as `florence2-tfjs/evaluation`. They compare answers of any model and load neither TensorFlow.js nor
 * an image library.
 */

export { bleu, type TokenizedCaption } from './bleu.ts';
export { ciderD } from './cider.ts';
export {
  auroc,
  averagePrecision,
  bestF1,
  brierScore,
  type ConfidenceBin,
  confidenceBins,
  expectedCalibrationError,
  maximumCalibrationError,
  type Outcome,
  type ThresholdPoint,
  thresholdCurve,
} from './confidence.ts';
export { BOXES, type ClassBox, type ClassScore, DetectionMetric, MASKS, type Shapes, type TrueObject } from './detection.ts'; // biome-ignore format: one line
export {
  type LocatedPhrase,
  type PhraseProtocol,
  phraseRecall,
  type ReferredBox,
  type ReferredMask,
  referringBoxes,
  referringMasks,
} from './grounding.ts';
export { OcrMetric, type TextLine, type TextRates } from './ocr.ts';
export { pennTokens } from './penn_tokens.ts';
export { rougeL } from './rouge.ts';
export {
  anls,
  anlsRrc,
  characterErrors,
  editSimilarity,
  errorRate,
  exactMatch,
  exactMatchPlain,
  type TextErrors,
  wordErrors,
} from './text.ts';
export { normalizeTextVqa, normalizeVqa, textVqaAccuracy, type VqaAnswer, vqaAccuracy } from './vqa.ts';
