/** Benchmarks are read from small files in the layouts in which they are distributed. */
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { evaluateBenchmark } from '../../src/evaluation/benchmarks.ts';
import type { BenchmarkName } from '../../src/evaluation/published.ts';
import type { Florence2 } from '../../src/florence2.ts';
import { unpickleData } from '../../src/weights/pickle.ts';
import { bmp, inFolder } from '../datasets/folder.ts';

const image = bmp(100, 50);
const imageSize = { width: 100, height: 50 };

/** Answers each request by its image (the end of its path) and its task and text. */
function model(answers: Record<string, object>, asked: string[] = [], beams: unknown[] = []): Florence2 {
  const florence = {
    withAdapter: () => florence,
    encodeImage: async (path: string) => ({ path, dispose() {} }),
    async runBatch(
      requests: { image: { path: string }; task: string; text?: string }[],
      options: { numBeams: number },
    ) {
      beams.push(options.numBeams);
      return requests.map(({ image, task, text = '' }) => {
        const question = `${image.path.replace(/.*\//, '')} ${task}${text}`;
        asked.push(question);
        return { task, imageSize, answer: '', truncated: false, ...answers[question] };
      });
    },
  };
  return florence as unknown as Florence2;
}

const near = (found: number, expected: number, what: string) =>
  assert.ok(Math.abs(found - expected) <= 1e-9, `${what}: ${found}, not ${expected}`);

const karpathy = {
  images: [
    { filepath: 'val2014', filename: 'COCO_val2014_000000000001.jpg', split: 'test', imgid: 0, cocoid: 1, sentids: [0, 1], sentences: [{ tokens: ['a', 'cat'], raw: 'A cat on a mat.', imgid: 0, sentid: 0 }, { raw: 'a cat sleeping on a mat' }] }, // biome-ignore format: one line
    {
      filepath: 'train2014',
      filename: 'COCO_train2014_000000000002.jpg',
      split: 'restval',
      sentences: [{ raw: 'none' }],
    },
    { filepath: 'val2014', filename: 'COCO_val2014_000000000003.jpg', split: 'test', sentences: [{ raw: 'Two dogs run on grass' }] }, // biome-ignore format: one line
  ],
  dataset: 'coco',
};
const captions = {
  'COCO_val2014_000000000001.jpg <CAPTION>': { text: 'a cat sleeping on a mat' },
  'COCO_val2014_000000000003.jpg <CAPTION>': { text: 'two dogs run on grass' },
};
const captionImages = {
  'val2014/COCO_val2014_000000000001.jpg': image,
  'val2014/COCO_val2014_000000000003.jpg': image,
};

const captionFiles: [name: string, content: object, split: string][] = [
  ['dataset_coco.json', karpathy, 'Karpathy test'],
  ['annotations/coco_karpathy_test.json', karpathy.images.filter(({ split }) => split === 'test').map(({ filename, sentences }) => ({ image: `val2014/${filename}`, caption: sentences.map(({ raw }) => raw) })), 'Karpathy test'], // biome-ignore format: one line
  ['annotations/captions_val2014.json', { info: {}, images: [1, 3].map(id => ({ id, file_name: `COCO_val2014_00000000000${id}.jpg`, width: 100, height: 50 })), licenses: [], annotations: [[1, 'A cat on a mat.'], [3, 'Two dogs run on grass'], [1, 'a cat sleeping on a mat']].map(([image_id, caption], id) => ({ image_id, id, caption })) }, 'val2014'], // biome-ignore format: one line
];

for (const [name, content, split] of captionFiles) {
  test(`coco-caption from ${name}`, () =>
    inFolder({ [name]: content, ...captionImages }, async folder => {
      const [asked, beams]: unknown[][] = [[], []];
      const results = await evaluateBenchmark(model(captions, asked as string[], beams), 'coco-caption', folder);
      assert.equal(asked, Object.keys(captions), 'with the prompt <CAPTION>, the test split alone');
      assert.equal(beams, [3, 3]);
      const [{ metrics, ...rest }] = results;
      assert.equal(rest, { split, questions: 2, figure: 'CIDEr' });
      // pycocoevalcap 1.2: Cider().compute_score(gts, res)[0] * 100, of the tokenized captions
      near(metrics.CIDEr, CIDER, 'CIDEr');
    }));
}
const CIDER = 866.2069805790441;

test('textcaps: one entry for each caption', () =>
  inFolder(
    {
      'TextCaps_0.1_val.json': {
        ...{ dataset_type: 'val', dataset_name: 'textcaps', dataset_version: '0.1' },
        data: ['A cat on a mat.', 'a cat sleeping on a mat'].map((caption_str, caption_id) => ({
          ...{ image_id: '00a1', image_classes: ['Cat'], image_width: 100, image_height: 50, set_name: 'val' },
          ...{ caption_id, caption_str, reference_strs: ['other'], image_name: '00a1', caption_tokens: [] },
        })),
      },
      'train_images/00a1.jpg': image,
    },
    async folder => {
      const [result] = await evaluateBenchmark(model({ '00a1.jpg <CAPTION>': { text: 'x' } }), 'textcaps', folder);
      assert.equal(result, { split: 'val', questions: 1, figure: 'CIDEr', metrics: { CIDEr: 0 } });
    },
  ));

test('textvqa: the question is the prompt, and people agree in part', () =>
  inFolder(
    {
      'annotations/TextVQA_0.5.1_val.json': {
        dataset_type: 'val',
        data: [
          { question: 'what is the brand?', image_id: '003a', question_id: 1, answers: [...Array(8).fill('nokia'), 'nok', 'no'] }, // biome-ignore format: one line
          { question: 'what year?', image_id: '003a', question_id: 2, answers: ['1990', ...Array(9).fill('none')] },
        ],
      },
      'train_images/003a.jpg': image,
    },
    async folder => {
      const answers = { '003a.jpg what is the brand?': { text: 'Nokia' }, '003a.jpg what year?': { text: '1990' } };
      const [{ metrics, questions }] = await evaluateBenchmark(model(answers), 'textvqa', folder);
      assert.is(questions, 2);
      near(metrics.accuracy, (100 * (1 + 0.3)) / 2, 'accuracy'); // of 1990: nine times min(1, 1/3), once 0
    },
  ));

test('coco-detection: mAP by each way to rank boxes', () =>
  inFolder(
    {
      'annotations/instances_val2017.json': {
        images: [{ id: 9, file_name: '000000000009.jpg', width: 100, height: 50 }],
        categories: [{ id: 18, name: 'dog', supercategory: 'animal' }],
        annotations: [
          { id: 1, image_id: 9, category_id: 18, bbox: [0, 0, 20, 20], area: 300, iscrowd: 0, segmentation: [[0, 0, 20, 0, 20, 20]] }, // biome-ignore format: one line
          { id: 2, image_id: 9, category_id: 18, bbox: [50, 0, 50, 50], area: 2000, iscrowd: 1, segmentation: { size: [50, 100], counts: [2500, 2500] } }, // biome-ignore format: one line
        ],
      },
      'val2017/000000000009.jpg': image,
    },
    async folder => {
      const boxes = [
        { label: 'dog', box: [60, 0, 80, 20], score: 0.9, labelScore: 0.9, confidence: 0.9 }, // in the crowd: not counted
        { label: 'dog', box: [20, 25, 40, 45], score: 0.8, labelScore: 0.1, confidence: 0.3 }, // wrong
        { label: 'dog', box: [0, 0, 20, 20], score: 0.5, labelScore: 0.7, confidence: 0.4 }, // right
      ];
      const [{ metrics }] = await evaluateBenchmark(
        model({ '000000000009.jpg <OD>': { boxes } }),
        'coco-detection',
        folder,
      );
      near(metrics['mAP, constant score'], 50, 'the wrong one comes first');
      near(metrics["mAP, transformers' location scores"], 50, 'the wrong one has the higher score');
      near(metrics["mAP, transformers' label scores"], 100, 'the right one has the higher score');
      near(metrics['mAP, confidence'], 100, 'the right one has the higher confidence');
    },
  ));

const expressions = [
  { sent_ids: [0, 1], file_name: 'COCO_train2014_000000000007_16.jpg', ann_id: 16, ref_id: 0, image_id: 7, split: 'val', sentences: [{ tokens: ['the', 'dog'], raw: 'THE DOG', sent_id: 0, sent: 'the dog' }, { tokens: ["man's", 'dog'], raw: "man's dog", sent_id: 1, sent: "man's dog" }], category_id: 18 }, // biome-ignore format: one line
  { sent_ids: [2], ann_id: 17, ref_id: 1, image_id: 7, split: 'train', sentences: [{ sent: 'not asked' }] },
  { sent_ids: [3], ann_id: 17, ref_id: 2, image_id: 7, split: 'testA', sentences: [{ sent: 'cat' }] },
];

const instances = {
  images: [{ id: 7, file_name: 'COCO_train2014_000000000007.jpg', width: 100, height: 50 }],
  annotations: [
    { id: 16, image_id: 7, category_id: 18, bbox: [0, 0, 20, 20], segmentation: [[0, 0, 20, 0, 20, 20, 0, 20]], iscrowd: 0 }, // biome-ignore format: one line
    { id: 17, image_id: 7, category_id: 17, bbox: [40, 0, 20, 20], segmentation: [[40, 0, 60, 0, 60, 20, 40, 20]], iscrowd: 0 }, // biome-ignore format: one line
  ],
  categories: [],
};

/** Writes a value as cPickle of Python 2 does in protocol 0, with its `str` as `S'…'`. */
function pickle(value: unknown): string {
  let count = 0;
  const write = (one: unknown): string => {
    const put = (text: string): string => `${text}p${++count}\n`;
    if (typeof one === 'number') return `I${one}\n`;
    if (typeof one === 'string') return put(one.includes("'") ? `S"${one}"\n` : `S'${one}'\n`);
    if (Array.isArray(one)) return `${put('(l')}${one.map(item => `${write(item)}a`).join('')}`;
    return `${put('(d')}${Object.entries(one as object).map(([name, item]) => `${write(name)}${write(item)}s`).join('')}`; // biome-ignore format: one line
  };
  return `${write(value)}.`;
}

const referFiles: [benchmark: BenchmarkName, file: string][] = [
  ['refcoco', 'refcoco/refs(unc).p'],
  ['refcoco+', 'refcoco+/refs(unc).p'],
  ['refcoco', 'refs(unc).p'],
  ['refcoco-res', 'refcoco/refs(unc).p'],
];

for (const [benchmark, file] of referFiles) {
  test(`${benchmark} from ${file}`, () =>
    inFolder(
      {
        ...{ [file]: pickle(expressions), [join(file, '..', 'instances.json')]: instances },
        'images/mscoco/images/train2014/COCO_train2014_000000000007.jpg': image,
      },
      async folder => {
        const name = 'COCO_train2014_000000000007.jpg';
        const phrases = (box: number[], confidence: number) => [{ phrase: 'x', boxes: [{ box, confidence }] }];
        const segment = (...points: number[]) => ({ instances: [{ label: '', polygons: [points] }] });
        const [task, mask] = ['<CAPTION_TO_PHRASE_GROUNDING>', '<REFERRING_EXPRESSION_SEGMENTATION>'];
        const answers = {
          [`${name} ${task}the dog`]: { phrases: [...phrases([0, 0, 20, 15], 0.2), ...phrases([50, 0, 60, 9], 0.9)] },
          [`${name} ${task}man's dog`]: { phrases: phrases([0, 0, 20, 5], 0.5) },
          [`${name} ${task}cat`]: { phrases: [] },
          [`${name} ${mask}the dog`]: segment(0, 0, 20, 0, 20, 10, 0, 10),
          [`${name} ${mask}man's dog`]: segment(40, 0, 60, 0, 60, 10, 40, 10),
        };
        const results = await evaluateBenchmark(model(answers), benchmark, folder);
        if (benchmark === 'refcoco-res') {
          assert.equal(results.map(({ split, questions }) => [split, questions]), [['val', 2]]); // biome-ignore format: one line
          near(results[0].metrics.mIoU, 100 * (0.5 + 0) / 2, 'mIoU'); // biome-ignore format: one line
          return;
        }
        assert.equal(results.map(({ split, questions }) => [split, questions]), [['val', 2], ['testA', 1], ['testB', 0]]); // biome-ignore format: one line
        const [val, testA] = results.map(({ metrics }) => metrics);
        near(val['accuracy@0.5'], 50, 'the first box has an IoU of 0.75, the other 0.25');
        near(val['mean IoU'], (75 + 25) / 2, 'mean IoU');
        near(val['accuracy@0.5 of the box with the highest confidence'], 0, 'the other box is surer');
        assert.is(testA['accuracy@0.5'], 0, 'no box is a miss');
      },
    ));
}

test('pickles of data: what Python 3 writes in protocols 0 and 1', () => {
  // pickle.dumps(['é"\'s\n', {'a': [1.5, True, None, 2**40, -3]}, 'é"\'s\n'], protocol=0), the last by GET
  const zero = '(lp0\nV\xe9"\'s\\u000a\np1\na(dp2\nVa\np3\n(lp4\nF1.5\naI01\naNaL1099511627776L\naI-3\nasag1\na.';
  const value = unpickleData(
    Uint8Array.from(zero, character => character.charCodeAt(0)),
    'x.p',
  );
  assert.equal(value, ['é"\'s\n', new Map([['a', [1.5, true, null, 2 ** 40, -3]]]), 'é"\'s\n']);
  for (const text of ['cos\nsystem\n(S"ls"\ntR.', "(S'a'\nios\nsystem\n."]) {
    assert.throws(() => unpickleData(Buffer.from(text), 'x.p'), /x\.p: .*(more than lists|INST)/);
  }
});

const faults: [what: string, files: Record<string, object | string>, message: RegExp][] = [
  ['no file', { 'a.json': {} }, /no annotations of the benchmark: looked for .*refs\(unc\)\.p/],
  ['no field', { 'refs(unc).p': pickle([{ split: 'val' }]), 'instances.json': instances }, /\[0\]: It has no ann_id/],
  ['another pickle', { 'refs(unc).p': 'I1\n.' }, /holds 1, expected a list of expressions/],
  ['another id', { 'refs(unc).p': pickle([{ split: 'val', ann_id: 5 }]), 'instances.json': instances }, /ann_id 5 is not in instances\.json/], // biome-ignore format: one line
];

for (const [what, files, message] of faults) {
  test(`wrong files: ${what}`, () =>
    inFolder(files, async folder => {
      const error = await evaluateBenchmark(model({}), 'refcoco', folder).catch(thrown => thrown as Error);
      assert.instance(error, Error);
      assert.match((error as Error).message, message);
    }));
}

test.run();
