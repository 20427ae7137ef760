/**
 * Measures the metrics on made-up data of the size of COCO's validation set:
 *
 *     npx tsx bench/evaluation.ts [--pairs N] [--python PYTHON]
 *
 * CIDEr-D, tokens included: 40,000 images with five references. mAP: 5,000 images with 36,000 true boxes, in pairs with
 * pycocotools (`pip install pycocotools`), whose twelve numbers must be the same.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ciderD } from '../src/evaluation/cider.ts';
import { BOXES, DetectionMetric } from '../src/evaluation/detection.ts';
import { pennTokens } from '../src/evaluation/penn_tokens.ts';
import { randomStream } from '../src/random.ts';

const { values } = parseArgs({
  options: { pairs: { type: 'string', default: '5' }, python: { type: 'string', default: 'python3' } },
});
const random = randomStream(1, 'bench');
const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)];

/** Words with frequencies that fall as in English. */
const WORDS = Array.from({ length: 8000 }, (_, i) =>
  `${'aeiou'[i % 5]}${i.toString(36)}`.replace(/\d/g, c => 'bcdfghjklm'[Number(c)]),
);
const word = (): string => WORDS[Math.floor(WORDS.length ** random()) - 1];

function caption(): string {
  const words = Array.from({ length: 8 + Math.floor(random() * 6) }, word).join(' ');
  return `A ${words}${pick(['.', '.', ', near a table.', " with a man's hat", ''])}`;
}

function measureCider(): void {
  const images = Array.from({ length: 40_000 }, () => ({
    candidate: caption(),
    references: Array.from({ length: 5 }, caption),
  }));
  const start = performance.now();
  const tokens = images.map(({ candidate, references }) => ({
    candidate: pennTokens(candidate),
    references: references.map(pennTokens),
  }));
  const tokenized = performance.now();
  const { mean } = ciderD(tokens);
  const [split, scored] = [tokenized - start, performance.now() - tokenized].map(ms => ms / 1000);
  console.log(
    `CIDEr-D ${mean.toFixed(4)} of 40,000 images: ${(split + scored).toFixed(1)} s (tokens ${split.toFixed(1)} s)`,
  );
}

interface CocoBox {
  image_id: number;
  category_id: number;
  bbox: [number, number, number, number];
  score: number;
}

function cocoData() {
  const truth: CocoBox[] = [];
  const found: CocoBox[] = [];
  for (let image = 1; image <= 5000; image++) {
    const count = Math.floor(random() * 15.4);
    for (let i = 0; i < count; i++) {
      const [x, y] = [random() * 500, random() * 380].map(Math.round);
      const [width, height] = [10 + random() ** 2 * 300, 10 + random() ** 2 * 300].map(Math.round);
      const box: CocoBox = {
        image_id: image,
        category_id: 1 + Math.floor(80 * random() ** 2),
        bbox: [x, y, width, height],
        score: 1,
      };
      truth.push(box);
      const moved = box.bbox.map(v => Math.max(1, v + Math.round((random() - 0.5) * 0.2 * width))) as CocoBox['bbox'];
      if (random() < 0.8) found.push({ ...box, bbox: moved, score: random() });
      if (random() < 0.2) found.push({ ...box, category_id: 1 + Math.floor(80 * random()), score: random() / 2 });
    }
  }
  return { truth, found };
}

const PYTHON = `
import contextlib, io, json, sys, time
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
data = json.load(open(sys.argv[1]))
out = io.StringIO()
with contextlib.redirect_stdout(out):
    coco = COCO(); coco.dataset = data["truth"]; coco.createIndex(); found = coco.loadRes(data["found"])
    start = time.perf_counter()
    run = COCOeval(coco, found, "bbox"); run.evaluate(); run.accumulate(); run.summarize()
print(json.dumps({"seconds": time.perf_counter() - start, "stats": list(run.stats)}))
`;

/** Ours, from COCO's objects in memory to the twelve numbers. */
function ours({ truth, found }: ReturnType<typeof cocoData>): { seconds: number; stats: Record<string, number> } {
  const start = performance.now();
  const metric = new DetectionMetric(BOXES);
  const rows = Array.from({ length: 5001 }, () => ({
    truth: [] as ReturnType<typeof toBox>[],
    found: [] as ReturnType<typeof toBox>[],
  }));
  for (const box of truth) rows[box.image_id].truth.push(toBox(box));
  for (const box of found) rows[box.image_id].found.push(toBox(box));
  for (const row of rows) metric.add(row.truth, row.found);
  const stats = metric.metrics();
  return { seconds: (performance.now() - start) / 1000, stats };
}

const toBox = ({ category_id, bbox: [x, y, width, height], score }: CocoBox) => ({
  label: String(category_id),
  box: [x, y, x + width, y + height],
  score,
});

function measureMap(pairs: number): void {
  const data = cocoData();
  console.log(`${data.truth.length} true boxes, ${data.found.length} found ones`);
  const folder = mkdtempSync(join(tmpdir(), 'bench-'));
  const file = join(folder, 'coco.json');
  const annotations = data.truth.map((box, i) => ({ ...box, id: i + 1, area: box.bbox[2] * box.bbox[3], iscrowd: 0 }));
  const images = Array.from({ length: 5000 }, (_, i) => ({ id: i + 1 }));
  const categories = Array.from({ length: 80 }, (_, i) => ({ id: i + 1, name: String(i + 1) }));
  writeFileSync(file, JSON.stringify({ truth: { images, categories, annotations }, found: data.found }));
  for (let i = 0; i < pairs; i++) {
    const mine = ours(data);
    const theirs = JSON.parse(execFileSync(values.python, ['-c', PYTHON, file], { encoding: 'utf8' }));
    const keys = [
      'mAP',
      'mAP50',
      'mAP75',
      'mAPSmall',
      'mAPMedium',
      'mAPLarge',
      'AR1',
      'AR10',
      'AR100',
      'ARSmall',
      'ARMedium',
      'ARLarge',
    ];
    const off = Math.max(...keys.map((key, k) => Math.abs((mine.stats[key] ?? -1) - theirs.stats[k])));
    console.log(
      `mAP ${mine.seconds.toFixed(2)} s, pycocotools ${theirs.seconds.toFixed(2)} s; largest difference ${off.toExponential(1)}`,
    );
  }
  rmSync(folder, { recursive: true });
}

if (fileURLToPath(import.meta.url) === process.argv[1]) {
  measureCider();
  measureMap(Number(values.pairs));
}
