import type { Florence2 } from '../florence2.ts';
import { answerTokens } from '../generation/call.ts';
import { generateAnswers } from '../generation/generate.ts';
import { forcedToken } from '../generation/processors.ts';
import { uprightBox } from '../geometry/orientation.ts';
import { DECODE_OPTIONS, type ImageInput } from '../image/types.ts';
import { attention, attentionPoints } from '../internals/attention_maps.ts';
import { captureForced } from '../internals/forced_pass.ts';
import { type LensReading, logitLens } from '../internals/logit_lens.ts';
import { Question } from '../internals/question.ts';
import { anything, callback, checkOptions, pickOptions } from '../options.ts';
import { CALLS, generationOf, type RunOptions } from '../requests.ts';
import { parse } from '../results/parse/parse.ts';
import { promptOf, type TaskArguments } from '../text/prompt.ts';
import { answeredTask } from '../text/tasks.ts';
import { answerRegions, coordinatesOf } from './answer_regions.ts';
import { NormRecorder } from './norm_recorder.ts';
import { packRows, reportImage } from './packing.ts';
import type { Candidate, CrossAttention, Lens, Report, ReportToken } from './report.ts';

/** Numbers of most probable tokens in a report: per token of the answer, and per layer and position of the lens. */
const [ALTERNATIVES, LENS_TOP] = [8, 5];

/** Options of `collectReport`. */
export interface InspectOptions extends TaskArguments, RunOptions {
  /**
   * Names of model, adapter and image on the page. Default: the checkpoint's folder, none, and the image's file name.
   */
  names?: { model?: string; adapter?: string; image?: string };
  /** Called at the beginning of each stage, with its name, its index and the number of stages. */
  onStage?: (stage: string, index: number, count: number) => void;
}

const STAGES = ['Encoding the image', 'Generating the answer', 'Reading attention', 'Reading the logit lens'];

/**
 * Runs one task on one image like `Florence2.run` and collects the data of a report. Probabilities, attention, logit
 * lens and the norms of the language model come from a pass under teacher forcing with the generated answer.
 *
 * @param task a task token (`<OD>`), or a custom prompt
 * @throws UsageError if the task lacks its text or region, Florence2Error if the image cannot be read
 */
export async function collectReport(
  model: Florence2,
  input: ImageInput,
  task: string,
  options: InspectOptions = {},
): Promise<Report> {
  checkOptions('collectReport', options, { ...CALLS.run, names: anything, onStage: callback });
  const { names = {}, text, keepUnicode, keepMalformed, onStage } = options;
  const begin = (index: number) => {
    options.signal?.throwIfAborted();
    onStage?.(STAGES[index], index, STAGES.length);
  };
  const norms = new NormRecorder();
  const call = model.withAdapter();
  const recorded = call.withHooks([norms.hook]);
  const { decodeForModel } = await import('../image/decode.ts');
  const { image, turned } = await decodeForModel(input, pickOptions(options, DECODE_OPTIONS));
  const box = options.box && uprightBox(options.box, image, turned);
  const imageName =
    names.image ?? (typeof input === 'string' || input instanceof URL ? nameOf(String(input)) : 'image');
  const imageSize = { width: image.width, height: image.height };
  const prompt = promptOf(task, { text, box }, imageSize);
  try {
    begin(0);
    const features = await recorded.encodeImage(image);
    begin(1);
    const { settings, options: generation } = generationOf(call, [task], options);
    const answers = await generateAnswers(call, [features], [prompt], generation).finally(() => features.dispose());
    const [[sequence]] = answers;
    const { ids, logProbs, truncated } = sequence;
    const answer = answerTokens(call, settings, sequence);
    const result = parse(answer, answeredTask(task), imageSize, { keepUnicode, keepMalformed, truncated });
    const forced = logProbs.map((_, t) => forcedToken(settings, t) !== undefined);
    begin(2);
    const question = await Question.ask(call, image, task, { text, box, answer: ids });
    try {
      const attention = await readCrossAttention(recorded, question, forced.length);
      begin(3);
      const readings = await logitLens(call, question, { top: ALTERNATIVES });
      const tokens = tokensOf(call, readings, forced);
      const regions = answerRegions(result, tokens);
      for (const [token, coordinate] of coordinatesOf(regions, tokens, imageSize))
        tokens[token].coordinate = coordinate;
      const { name, description } = call.backend;
      return {
        title: `${task} · ${imageName}`,
        model: { name: names.model ?? call.folder, adapter: names.adapter, backend: `${name} (${description})` },
        image: await reportImage(imageName, image),
        task: result.task,
        prompt,
        answer: { text: result.answer, truncated },
        tokens,
        regions,
        attention,
        lens: lensOf(readings, tokens.length),
        norms: await norms.panels(),
      };
    } finally {
      question.dispose();
    }
  } finally {
    norms.dispose();
  }
}

/** Reads the weights of the first T tokens. The question of a truncated answer has an additional `</s>`. */
async function readCrossAttention(model: Florence2, question: Question, T: number): Promise<CrossAttention> {
  const { decoderLayers: layers, decoderAttentionHeads: heads } = model.config.text;
  // Starts from the features, so that the norm recorder's hooks run in the encoder too.
  const cache = captureForced(model, question, attentionPoints('cross'), { from: 'features' });
  const S = question.positions.length;
  const values = new Float32Array(T * layers * heads * S);
  try {
    for (let layer = 0; layer < layers; layer++) {
      const map = await attention(cache, 'cross', layer); // [heads, T or more, S]
      for (let head = 0; head < heads; head++) {
        for (let t = 0; t < T; t++) {
          const from = (head * map.shape[1] + t) * S;
          values.set(map.values.subarray(from, from + S), ((t * layers + layer) * heads + head) * S);
        }
      }
    }
  } finally {
    cache.dispose();
  }
  const [rows, columns] = question.grid;
  return {
    layers,
    heads,
    rows,
    columns,
    prompt: question.positions.slice(1 + rows * columns),
    weights: await packRows(values, [T, layers, heads, S]),
  };
}

/** Returns the answer's tokens with the last layer's predictions. */
function tokensOf({ tokenizer }: Florence2, readings: LensReading[], forced: boolean[]): ReportToken[] {
  const { predictions } = readings.at(-1)!;
  return forced.map((forced, t) => {
    const { answer, top, entropy } = predictions[t];
    const { token: id, text, probability, rank } = answer;
    const kind = /^<loc_\d+>$/.test(text) ? 'location' : tokenizer.isSpecial(id) ? 'special' : 'text';
    return {
      id,
      text,
      p: rounded(probability),
      kind,
      forced,
      rank,
      entropy: rounded(entropy),
      alternatives: candidates(top),
    };
  });
}

function lensOf(readings: LensReading[], T: number): Lens {
  const positions = readings.map(({ predictions }) => predictions.slice(0, T));
  return {
    layers: readings.map(({ layer }) => (layer === 'embedding' ? layer : `layer ${layer}`)),
    top: positions.map(layer => layer.map(({ top }) => candidates(top.slice(0, LENS_TOP)))),
    said: positions.map(layer => layer.map(({ answer }) => rounded(answer.probability))),
  };
}

const candidates = (top: readonly { text: string; probability: number }[]): Candidate[] =>
  top.map(({ text, probability }) => ({ text, p: rounded(probability) }));

/** Returns the file name of a path or URL. */
export function nameOf(path: string): string {
  if (path.startsWith('data:')) return 'image';
  return path.replace(/[?#].*$/, '').split(/[\\/]/).at(-1) || path; // biome-ignore format: one line
}

/** Rounds to six significant digits, which shortens the file. */
const rounded = (value: number): number => Number(value.toPrecision(6));
