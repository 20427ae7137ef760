import { Florence2Error, UsageError } from '../../errors.ts';
import type { Florence2 } from '../../florence2.ts';
import type { ImageFeatures } from '../../image/features.ts';
import type { ImageInput } from '../../image/types.ts';
import type { TaskResult } from '../../results/types.ts';
import { promptOf } from '../../text/prompt.ts';
import type { KnownAnswer, PublishedAnswers, PublishedCase } from './cases.ts';

/** The comparison of one published answer with the model's. */
export interface VerifyRow {
  readonly image: string;
  readonly task: string;
  readonly input?: string;
  readonly expected: KnownAnswer;
  readonly got: KnownAnswer;
  readonly equal: boolean;
  /** One sentence per difference. */
  readonly differences: string[];
}

/**
 * Returns the published cases of a model.
 *
 * @param name id or folder of the model. Only its last part is compared (`…/Florence-2-base`)
 * @throws UsageError if no answers of this model are published
 */
export function casesOf({ cases }: PublishedAnswers, name: string): PublishedCase[] {
  const last = (path: string) => path.replaceAll('\\', '/').replace(/\/+$/, '').split('/').at(-1)!.toLowerCase();
  const found = cases.filter(({ model }) => last(model) === last(name));
  if (found.length > 0) return found;
  const models = [...new Set(cases.map(({ model }) => model))].join(', ');
  throw new UsageError(`No answers of ${name} are published. Name its model with --as: ${models}.`);
}

/**
 * Runs the model on every case and compares the answers. Each image is encoded once.
 *
 * @param imageOf returns the image of a name in `answers.images`
 * @throws Florence2Error if an image cannot be read, or does not have the size of the published image
 */
export async function* verify(
  model: Florence2,
  answers: PublishedAnswers,
  cases: PublishedCase[],
  imageOf: (name: string) => ImageInput | Promise<ImageInput>,
): AsyncGenerator<VerifyRow, void> {
  for (const name of new Set(cases.map(({ image }) => image))) {
    const features = await model.encodeImage(await imageOf(name));
    try {
      const { width, height } = features.imageSize;
      const known = answers.images.get(name)!;
      if (width !== known.width || height !== known.height) {
        const sizes = `${width}×${height} pixels, the published one ${known.width}×${known.height}`;
        throw new Florence2Error(`The image "${name}" is not the published one: it has ${sizes}.`);
      }
      for (const published of cases.filter(({ image }) => image === name))
        yield await checkCase(model, features, published);
    } finally {
      features.dispose();
    }
  }
}

async function checkCase(model: Florence2, features: ImageFeatures, published: PublishedCase): Promise<VerifyRow> {
  const { image, task, input, numBeams, maxNewTokens } = published;
  const prompt = promptOf(task, { text: input }, features.imageSize);
  const result = await model.run(features, task, { text: input, numBeams, maxNewTokens, doSample: false });
  const got = { inputIds: model.tokenizer.encode(prompt), ...known(result) };
  const { inputIds, text, labels, boxes, polygons } = published;
  const expected = { inputIds, text, labels, boxes, polygons };
  const differences = compare(published, got, features.imageSize);
  return { image, task, ...(input && { input }), expected, got, equal: differences.length === 0, differences };
}

/** Returns a result in the form of the published answers. */
function known(result: TaskResult): KnownAnswer {
  if ('text' in result) return { text: result.text };
  if ('phrases' in result) {
    const pairs = result.phrases.flatMap(({ phrase, boxes }) => boxes.map(({ box }) => ({ phrase, box })));
    return { labels: pairs.map(({ phrase }) => phrase), boxes: pairs.map(({ box }) => box) };
  }
  const boxes = 'boxes' in result ? result.boxes : [];
  const polygons = 'instances' in result ? result.instances.length : 0;
  return { labels: boxes.map(({ label }) => label), boxes: boxes.map(({ box }) => box), polygons };
}

/** Tolerance in pixels: published coordinates are float32. */
const ROUNDING = 1e-3;

function compare(expected: PublishedCase, got: KnownAnswer, size: { width: number; height: number }): string[] {
  const differences: string[] = [];
  const spelled = (label?: string) => (expected.ignoreCase ? label?.toLowerCase() : label);
  if (expected.inputIds && String(expected.inputIds) !== String(got.inputIds)) {
    differences.push(`the prompt's ids are ${got.inputIds}, expected ${expected.inputIds}`);
  }
  if (expected.text !== undefined && expected.text !== got.text) differences.push('the text differs');
  if (expected.polygons !== undefined && expected.polygons !== got.polygons) {
    differences.push(`${got.polygons ?? 'no'} objects as polygons, expected ${expected.polygons}`);
  }
  if (!expected.labels || !expected.boxes) return differences;
  if (expected.boxes.length !== got.boxes?.length) {
    return [...differences, `${got.boxes?.length ?? 'no'} boxes, expected ${expected.boxes.length}`];
  }
  expected.boxes.forEach((box, i) => {
    const label = got.labels![i];
    if (spelled(label) !== spelled(expected.labels![i])) {
      differences.push(`box ${i + 1} is labelled "${label}", expected "${expected.labels![i]}"`);
    }
    const bins = box.map((value, axis) => {
      const bin = (axis % 2 === 0 ? size.width : size.height) / 1000;
      return (Math.abs(got.boxes![i][axis] - value) - ROUNDING) / bin;
    });
    const most = Math.max(...bins);
    if (!(most <= expected.bins)) {
      const off = Number.isFinite(most) ? `${Math.ceil(most)} bins` : 'no numbers';
      differences.push(`box ${i + 1} ("${label}") is off by ${off}${expected.bins > 0 ? ', 1 is allowed' : ''}`);
    }
  });
  return differences;
}
