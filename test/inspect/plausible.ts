import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { decodeImage } from '../../src/image/decode.ts';
import { answerRegions, coordinatesOf } from '../../src/inspect/answer_regions.ts';
import { packRows, reportImage } from '../../src/inspect/packing.ts';
import type { Candidate, NormPanel, Report, ReportToken } from '../../src/inspect/report.ts';
import { parse } from '../../src/results/parse/parse.ts';
import { boxToTokens, pointsToTokens } from '../../src/text/locations.ts';
import { promptOf } from '../../src/text/prompt.ts';

/**
 * Hand-written reports of the size of Florence-2-base, with plausible answers about the pictures and matching
 * attention, for viewing and testing the page without a model.
 */
export const plausibleAnswers = {
  caption: {
    picture: 'street',
    task: '<CAPTION>',
    answer: 'A turquoise car parked in front of a yellow building.',
    looks: { turquoise: [290, 350], car: [300, 370], parked: [330, 450], building: [500, 100], yellow: [400, 90] },
  },
  od: {
    picture: 'street',
    task: '<OD>',
    answer: [
      ['car', [113, 258, 632, 462]],
      ['door', [190, 130, 312, 330]],
      ['door', [446, 130, 568, 330]],
      ['wheel', [185, 375, 266, 463]],
      ['wheel', [488, 375, 570, 463]],
      ['window', [30, 140, 155, 255]],
    ]
      .map(([label, box]) => label + boxToTokens(box as number[], { width: 768, height: 512 }))
      .join(''),
    looks: {},
  },
  segmentation: {
    picture: 'shapes',
    task: '<REFERRING_EXPRESSION_SEGMENTATION>',
    input: 'the red ball',
    answer: pointsToTokens(
      Array.from({ length: 18 }, (_, i) => [185 + 92 * Math.cos(i / 2.865), 335 + 92 * Math.sin(i / 2.865)]).flat(),
      { width: 768, height: 512 },
    ),
    looks: {},
  },
  ocr: {
    picture: 'sign',
    task: '<OCR_WITH_REGION>',
    answer: [
      ['COFFEE & CAKE', [218, 148, 548, 148, 548, 188, 218, 188]],
      ['OPEN DAILY', [282, 254, 486, 254, 486, 288, 282, 288]],
      ['8 am – 6 pm', [303, 300, 466, 300, 466, 332, 303, 332]],
    ]
      .map(([text, quad]) => text + pointsToTokens(quad as number[], { width: 768, height: 512 }))
      .join(''),
    looks: {},
  },
} satisfies Record<string, PlausibleAnswer>;

interface PlausibleAnswer {
  picture: string;
  task: string;
  input?: string;
  answer: string;
  /** Where a word attends, in pixels. */
  looks: Record<string, number[]>;
}

const [LAYERS, HEADS, SIDE] = [6, 12, 24];

export async function plausibleReport(name: keyof typeof plausibleAnswers): Promise<Report> {
  const given: PlausibleAnswer = plausibleAnswers[name];
  const { picture, task, input = '', answer, looks } = given;
  const path = fileURLToPath(new URL(`../../docs/pictures/${picture}.jpg`, import.meta.url));
  const raw = await decodeImage(path);
  const size = { width: raw.width, height: raw.height };
  const random = generator(7);
  const texts = ['<s>', ...answer.match(/<[^>]+>| ?[\p{L}\p{N}]+| ?[^\s\p{L}\p{N}<]+/gu)!, '</s>'];
  const tokens = texts.map((text, i): ReportToken => {
    const kind = text.startsWith('<loc_') ? 'location' : /^<\/?\w+>$/.test(text) ? 'special' : 'text';
    const p = kind === 'special' ? 0.998 : 0.25 + 0.74 * random() ** 0.5;
    const alternatives = candidates(text, p, random);
    const rank = 1 + alternatives.findIndex(other => other.text === text);
    return { text, p, id: 100 + i, kind, forced: i === 0, rank, entropy: 3 * (1 - p), alternatives };
  });
  const regions = answerRegions(parse(answer, task, size), tokens);
  for (const [token, coordinate] of coordinatesOf(regions, tokens, size)) tokens[token].coordinate = coordinate;
  for (const region of regions) region.confidence = 0.55 + 0.4 * random();

  const question = promptOf(task, { text: input }, size);
  const prompt = ['<s>', ...question.match(/ ?[\p{L}]+|[^\s\p{L}]+/gu)!, '</s>'];
  const focus = tokens.map(({ text }, i): number[] => {
    const region = regions.find(r => r.locationTokens.includes(i) || r.labelTokens.includes(i));
    const own = looks[text.trim()];
    if (own) return [own[0], own[1], 0.09];
    if (!region) return [384, 256, 0.5];
    const points = region.outlines.flat();
    const middle = [0, 1].map(axis => mean(points.filter((_, k) => k % 2 === axis)));
    const { coordinate } = tokens[i];
    if (coordinate) middle[coordinate.axis === 'x' ? 0 : 1] = coordinate.value;
    return [...middle, coordinate ? 0.05 : 0.1];
  });
  return {
    title: `${task} · ${basename(path)}`,
    model: { name: 'microsoft/Florence-2-base', backend: 'tensorflow (CPU)' },
    image: await reportImage(basename(path), raw),
    task,
    prompt: question,
    answer: { text: answer, truncated: false },
    tokens,
    regions,
    attention: {
      layers: LAYERS,
      heads: HEADS,
      rows: SIDE,
      columns: SIDE,
      prompt,
      weights: await packRows(attend(focus, prompt.length, size, random), [
        tokens.length,
        LAYERS,
        HEADS,
        1 + SIDE ** 2 + prompt.length,
      ]),
    },
    lens: lensOf(tokens, random),
    norms: normsOf(random),
  };
}

/**
 * Returns attention [T, layers, heads, S] whose rows sum to 1: sharper in later layers, with a different offset per
 * head.
 */
function attend(
  focus: number[][],
  promptLength: number,
  size: { width: number; height: number },
  random: () => number,
): Float32Array {
  const S = 1 + SIDE ** 2 + promptLength;
  const values = new Float32Array(focus.length * LAYERS * HEADS * S);
  const habits = Array.from({ length: LAYERS * HEADS }, () => [random(), random(), random(), random()]);
  for (const [t, [x, y, spread]] of focus.entries()) {
    for (const [lh, [onPrompt, blur, shiftX, shiftY]] of habits.entries()) {
      const sigma = (spread + 0.3 * blur ** 2) * (1.5 - Math.floor(lh / HEADS) / LAYERS);
      const [cx, cy] = [x / size.width + 0.12 * (shiftX - 0.5), y / size.height + 0.12 * (shiftY - 0.5)];
      const row = values.subarray((t * LAYERS * HEADS + lh) * S, (t * LAYERS * HEADS + lh + 1) * S);
      for (let i = 0; i < SIDE ** 2; i++) {
        const [dx, dy] = [((i % SIDE) + 0.5) / SIDE - cx, (Math.floor(i / SIDE) + 0.5) / SIDE - cy];
        row[1 + i] = Math.exp(-(dx * dx + dy * dy) / (2 * sigma * sigma)) + 0.02 * random();
      }
      const onImage = sum(row);
      row[0] = onImage * 0.25 * blur;
      for (let i = 1 + SIDE ** 2; i < S; i++) row[i] = (onImage * onPrompt * 2 * random()) / promptLength;
      const total = sum(row);
      for (let i = 0; i < S; i++) row[i] /= total;
    }
  }
  return values;
}

const WORDS = ['the', 'with', 'house', 'green', 'on', 'street', 'image', 'blue', 'and', 'vehicle', 'side', 'two', 'of'];

function candidates(text: string, p: number, random: () => number): Candidate[] {
  const others = Array.from({ length: 7 }, (_, i) => {
    const bin = Number(/^<loc_(\d+)>$/.exec(text)?.[1]);
    if (bin >= 0) return `<loc_${Math.max(0, Math.min(999, bin + (i % 2 ? -1 : 1) * (1 + (i >> 1))))}>`;
    return ` ${WORDS[Math.floor(random() * WORDS.length)]}`;
  });
  let rest = 1 - p;
  const list = [{ text, p }];
  for (const other of new Set(others)) {
    rest *= 0.55;
    list.push({ text: other, p: rest });
  }
  return list.sort((a, b) => b.p - a.p);
}

function lensOf(tokens: ReportToken[], random: () => number): Report['lens'] {
  const layers = ['embedding', ...Array.from({ length: LAYERS }, (_, i) => `layer ${i}`)];
  const said = layers.map((_, l) => tokens.map(({ p }) => (l === LAYERS ? p : p * (l / LAYERS) ** 2.5 * random())));
  const top = layers.map((_, l) => tokens.map(({ text }, t) => candidates(text, said[l][t], random).slice(0, 5)));
  return { layers, top, said };
}

function normsOf(random: () => number): NormPanel[] {
  const depths = [1, 1, 9, 1];
  const vision = depths.flatMap((depth, stage) =>
    Array.from({ length: depth }, (_, i) => ['spatial', 'channel'].map(kind => `${stage}.${i} ${kind}`)).flat(),
  );
  const series = (names: string[], count: number, base: number, growth: number) =>
    names.map((name, k) => ({
      name,
      values: Array.from({ length: count }, (_, i) => (base / (1 + k)) * growth ** i * (0.8 + 0.4 * random())),
    }));
  const starts = depths.map((_, stage) => 2 * depths.slice(0, stage).reduce((a, b) => a + b, 0));
  const numbers = Array.from({ length: LAYERS }, (_, i) => String(i));
  const [stream, attention, cross, mlp] = ['hook_resid_post', 'hook_attn_out', 'hook_cross_attn_out', 'hook_mlp_out'];
  return [
    {
      part: 'Vision tower',
      blocks: vision,
      groups: starts.map((from, stage) => ({ from, label: `stage ${stage}` })),
      series: series([stream, attention, mlp], vision.length, 12, 1.12),
    },
    { part: 'Encoder', blocks: numbers, groups: [], series: series([stream, attention, mlp], LAYERS, 14, 1.04) },
    { part: 'Decoder', blocks: numbers, groups: [], series: series([stream, attention, cross, mlp], LAYERS, 17, 1.02) },
  ];
}

/** Returns a generator of reproducible numbers from 0 to 1 (Park and Miller 1988). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
}

const sum = (values: ArrayLike<number>): number => Array.from(values).reduce((a, b) => a + b, 0);
const mean = (values: number[]): number => sum(values) / values.length;
