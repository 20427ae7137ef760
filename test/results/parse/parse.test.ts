import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { UsageError } from '../../../src/errors.ts';
import { readAnswer } from '../../../src/results/parse/answer.ts';
import { type ParseOptions, parse } from '../../../src/results/parse/parse.ts';
import { BANNED_PHRASES } from '../../../src/results/parse/places.ts';
import { parsePolygons } from '../../../src/results/parse/polygons.ts';
import type { TaskResult } from '../../../src/results/types.ts';
import { TASKS } from '../../../src/text/tasks.ts';
import { Tokenizer } from '../../../src/text/tokenizer.ts';
import { reference, referenceJson } from '../../reference.ts';

const file = referenceJson('processor/postprocess.json');
const tokenizer = Tokenizer.fromFiles({ tokenizerJson: readFileSync(reference('tokenizer/tokenizer.json'), 'utf8') });
const sizeOf = ([width, height]: [number, number]) => ({ width, height });

/**
 * Results that equal neither Microsoft's nor transformers', with the reason. All others equal Microsoft's, or
 * transformers' in cases in which special tokens or white space are removed before parsing.
 */
const DIFFERENCES: Record<string, { expected: unknown; why: string }> = {
  p080: { expected: 'cat', why: 'both keep <pad> in plain text; here all special tokens are removed' },
};

/** Converts a result to the field names of the reference. */
function inReferenceWords(result: TaskResult): unknown {
  if ('text' in result) return result.text;
  if ('quads' in result) {
    return { quad_boxes: result.quads.map(q => q.quad), labels: result.quads.map(q => q.text) };
  }
  if ('phrases' in result) {
    return {
      bboxes: result.phrases.flatMap(p => p.boxes.map(b => b.box)),
      labels: result.phrases.flatMap(p => p.boxes.map(() => p.phrase)),
    };
  }
  if (result.task === '<OPEN_VOCABULARY_DETECTION>') {
    return {
      bboxes: result.boxes.map(b => b.box),
      bboxes_labels: result.boxes.map(b => b.label),
      polygons: result.instances.map(p => p.polygons),
      polygons_labels: result.instances.map(p => p.label),
    };
  }
  if ('instances' in result) {
    return { polygons: result.instances.map(p => p.polygons), labels: result.instances.map(p => p.label) };
  }
  return { bboxes: result.boxes.map(b => b.box), labels: result.boxes.map(b => b.label) };
}

const asReference = (text: string, task: string, size: [number, number]) =>
  inReferenceWords(parse(text, task, sizeOf(size), { keepMalformed: true }));

/** Truncates all numbers to integers, as transformers does with bin centres. */
const truncated = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value), (_, v) => (typeof v === 'number' ? Math.trunc(v) : v));

const same = (a: unknown, b: unknown): boolean => JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));

const sorted = (value: unknown): unknown =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
    : value;

test('with keepMalformed, 404 answers equal a column of the reference or are listed as differences', () => {
  assert.is(file.cases.length, 404);
  const counts = { microsoft: 0, transformers: 0, different: 0 };
  for (const { id, task, about, text, image_size, expected_ms, expected_hf } of file.cases) {
    const result = asReference(text, task, image_size);
    const where = `${id} ${task} ${about}: ${JSON.stringify(text)}`;
    if (id in DIFFERENCES) {
      const { expected } = DIFFERENCES[id];
      assert.not(same(result, expected_ms) || same(truncated(result), expected_hf), `${where} does not differ`);
      assert.equal(result, expected, where);
      counts.different++;
    } else if (same(result, expected_ms)) {
      counts.microsoft++;
    } else if (same(truncated(result), expected_hf)) {
      counts.transformers++;
    } else {
      assert.equal(result, expected_ms, where);
    }
  }
  assert.is(counts.different, Object.keys(DIFFERENCES).length);
  assert.equal(counts, COUNTS);
});

const COUNTS = { microsoft: 367, transformers: 36, different: 1 };

test('answers that equal only transformers are those that the reference marks as different', () => {
  for (const { id, task, text, image_size, expected_ms, differs } of file.cases) {
    if (id in DIFFERENCES || same(asReference(text, task, image_size), expected_ms)) continue;
    assert.ok(differs.includes('strip') || differs.includes('ocr_label'), `${id} differs from Microsoft's`);
  }
});

test('token ids give the same results, with scores if log-probabilities are given', () => {
  let scores = 0;
  for (const { task, ids, scores: logProbs, image_size, expected_ms } of file.sequence_cases) {
    const image = sizeOf(image_size);
    const answer = { ids, logProbs: logProbs ?? undefined, tokenizer };
    const result = parse(answer, task, image, { keepMalformed: true });
    const where = `${task} ${ids}`;
    const { scores: expectedScores, ...expected } =
      typeof expected_ms === 'string' ? { text: expected_ms } : expected_ms;
    assert.equal(inReferenceWords(result), 'text' in expected ? expected.text : expected, where);
    if (expectedScores) {
      assert.ok('boxes' in result);
      assert.is(result.boxes.length, expectedScores.length, where);
      for (const [i, { score }] of result.boxes.entries()) {
        assert.ok(
          Math.abs(score! - expectedScores[i]) <= 1e-6,
          `${where}: score ${i} is ${score}, not ${expectedScores[i]}`,
        );
        scores++;
      }
    }
    const given = JSON.stringify(result).includes('"score"');
    assert.is(given, Boolean(logProbs) && instanceCount(result) > 0, `${where}: scores only with log-probabilities`);
  }
  assert.ok(scores >= 8, `${scores} scores`);
});

function instanceCount(result: TaskResult): number {
  return ['boxes', 'phrases', 'instances', 'quads']
    .map(list => (result as unknown as Record<string, unknown[] | undefined>)[list]?.length ?? 0)
    .reduce((a, b) => a + b);
}

test('options equal the corresponding parts of the reference', () => {
  for (const { text, image_size, area_threshold, expected_ms } of file.ocr_area_threshold) {
    const { quads } = parse(text, '<OCR_WITH_REGION>', sizeOf(image_size), { areaThreshold: area_threshold });
    assert.equal(
      quads.map(({ quad, text }) => ({ quad_box: quad, text })),
      expected_ms,
      `area threshold ${area_threshold}`,
    );
  }
  for (const { text, image_size, expected_ms } of file.polygons_with_box_at_start) {
    const { instances } = parsePolygons(readAnswer(text), sizeOf(image_size), { labels: true, boxAtStart: true });
    assert.equal(
      instances.map(({ label, polygons, box }) => ({ cat_name: label, polygons, bbox: box })),
      expected_ms,
      text,
    );
  }
});

/** Boxes of bins a thousandth of the image wide: a bin's centre is its number plus a half. */
const THOUSAND = { width: 1000, height: 1000 };
const at = (...bins: number[]): string => bins.map(bin => `<loc_${bin}>`).join('');
const A = at(10, 20, 30, 40);
const B = at(50, 60, 70, 80);
const boxA = [10.5, 20.5, 30.5, 40.5];
const boxB = [50.5, 60.5, 70.5, 80.5];

test('malformed answers leave no remnants of tags in labels, and places without a label are dropped and counted', () => {
  const cases: [answer: string, objects: [label: string, box: number[]][], dropped: number | undefined][] = [
    [`car${A}${B}dog${A}`, [['car', boxA], ['car', boxB], ['dog', boxA]], undefined], // biome-ignore format: one line
    [`${at(9, 1, 2, 937)}red square${A}`, [['red square', boxA]], 1],
    [`<loc_937>red square${A}`, [['red square', boxA]], undefined],
    [`${A}${at(1, 2, 3)}`, [], 1],
    [`${A}${B}`, [], 2],
    [` ${A}dog${B}`, [['dog', boxB]], 1],
    [`car</od>${A}`, [['car', boxA]], undefined],
    [`<and>car<obj>${A}<sep>${B}`, [['car', boxA], ['car', boxB]], undefined], // biome-ignore format: one line
    [`car<and>dog${A}`, [['dog', boxA]], undefined],
    [`car<loc_-1>${A}`, [], 1],
    [`a > b${A}`, [['a > b', boxA]], undefined],
    [`a < b${A}`, [['b', boxA]], undefined],
    [`car${at(30, 20, 10, 40)}${A}`, [['car', boxA]], 1],
    [`car${at(10, 40, 30, 20)}`, [], 1],
    [`car${at(10, 20, 10, 40)}`, [], 1],
    [`car${at(10, 20, 30, 20)}dog${B}`, [['dog', boxB]], 1],
    [`car${at(10, 20, 30)}`, [], undefined],
  ];
  for (const [answer, objects, dropped] of cases) {
    const result = parse(answer, '<OD>', THOUSAND);
    assert.equal(result.boxes.map(({ label, box }) => [label, box]), objects, answer); // biome-ignore format: one line
    assert.is(result.dropped, dropped, answer);
    assert.equal(parse(answer, '<OPEN_VOCABULARY_DETECTION>', THOUSAND).boxes, result.boxes, answer);
    const { phrases, ...grounded } = parse(answer, '<CAPTION_TO_PHRASE_GROUNDING>', THOUSAND);
    assert.equal(phrases.flatMap(({ phrase, boxes }) => boxes.map(({ box }) => [phrase, box])), objects, answer); // biome-ignore format: one line
    assert.is(grounded.dropped, dropped, answer);
  }
  const proposals = parse(`car${A}${at(30, 20, 10, 40)}${B}`, '<REGION_PROPOSAL>', THOUSAND);
  assert.equal([proposals.boxes.map(({ box }) => box), proposals.dropped], [[boxA, boxB], 1]);
});

test('quads without text or area and polygons without a label are dropped and counted', () => {
  const [one, two] = [at(1, 2, 9, 2, 9, 5, 1, 5), at(1, 12, 9, 12, 9, 15, 1, 15)];
  const lines: [answer: string, texts: string[], dropped: number | undefined][] = [
    [`STOP${one}GO ON${two}`, ['STOP', 'GO ON'], undefined],
    [`${one}STOP${two}`, ['STOP'], 1],
    [`STOP${one}${two}`, ['STOP'], 1],
    [`STOP${one}<loc_7>GO${two}`, ['STOP', 'GO'], undefined],
    [`STOP${at(1, 2, 3)}GO${two}`, ['GO'], undefined],
    [`a < b${one}`, ['a < b'], undefined],
    [`STOP${at(1, 2, 9, 2, 9, 2, 1, 2)}GO${two}`, ['GO'], 1],
  ];
  for (const [answer, texts, dropped] of lines) {
    const result = parse(answer, '<OCR_WITH_REGION>', THOUSAND);
    assert.equal([result.quads.map(({ text }) => text), result.dropped], [texts, dropped], answer);
  }
  const shape = `<poly>${one}</poly>`;
  const outlines: [answer: string, labels: string[], dropped: number | undefined][] = [
    [`car${shape}${shape}dog${shape}`, ['car', 'car', 'dog'], undefined],
    [`<and>car${shape}`, ['car'], undefined],
    [`<loc_12>car${shape}`, ['car'], undefined],
    [`${shape}${shape}`, [], 2],
  ];
  for (const [answer, labels, dropped] of outlines) {
    const result = parse(answer, '<OPEN_VOCABULARY_DETECTION>', THOUSAND);
    assert.equal([result.instances.map(({ label }) => label), result.dropped], [labels, dropped], answer);
  }
});

test('well-formed answers are equal with and without keepMalformed', () => {
  const inOrder = ([x1, y1, x2, y2]: number[]) => x1 < x2 && y1 < y2;
  let equal = 0;
  for (const { id, task, text, image_size, expected_ms } of file.cases) {
    const labels: string[] = [...(expected_ms.labels ?? []), ...(expected_ms.bboxes_labels ?? [])];
    const words = [...labels, ...(expected_ms.polygons_labels ?? [])];
    const boxes: number[][] = expected_ms.bboxes ?? [];
    const [plain, kept] = [{}, { keepMalformed: true }].map(options => parse(text, task, sizeOf(image_size), options));
    const remnant = words.find(word => /^[^<>\s]*>/.test(word) || /<[^<> ]+>/.test(word));
    if (remnant !== undefined || words.includes('') || !boxes.every(inOrder)) {
      const listed = JSON.stringify(plain, (key, value) => (key === 'answer' ? undefined : value));
      assert.not.match(listed, /loc_|"(label|phrase)":"[^"]*<|"[a-z/]+>/, id);
    } else if (plain.dropped === undefined) {
      assert.equal(plain, kept, id);
      equal++;
    }
  }
  assert.ok(equal > 200, `${equal} answers`);
});

test('the scores of objects in a malformed answer come from their tokens', () => {
  const pieces = [...'<loc_9><loc_8>'.match(/<[^>]*>/g)!, 'car', ...A.match(/<[^>]*>/g)!];
  const ids = pieces.flatMap(piece => tokenizer.encode(piece, { addSpecialTokens: false }));
  const logProbs = [-8, -8, -8, -1, -1, -2, -4];
  const { boxes } = parse({ ids, logProbs, tokenizer }, '<OD>', THOUSAND);
  assert.is(boxes[0].score, Math.exp(-2));
});

test("banned phrases equal the reference's", () => {
  assert.equal([...BANNED_PHRASES].sort(), [...file.banned_phrases].sort());
});

test('keepUnicode keeps labels unchanged', () => {
  const image = { width: 1000, height: 1000 };
  const locations = '<loc_1><loc_2><loc_3><loc_4>';
  const cases: [text: string, ascii: string, whole: string][] = [
    [`café table${locations}`, 'caf table', 'café table'],
    [`日本${locations}`, '', '日本'],
    [`dog 😀${locations}`, 'dog ', 'dog 😀'],
  ];
  for (const [text, ascii, whole] of cases) {
    for (const [options, expected] of [
      [{}, ascii],
      [{ keepUnicode: true }, whole],
    ] as [ParseOptions, string][]) {
      assert.is(parse(text, '<OD>', image, options).boxes[0].label, expected);
      assert.is(parse(text, '<CAPTION_TO_PHRASE_GROUNDING>', image, options).phrases[0].phrase, expected);
      assert.is(parse(text, '<OPEN_VOCABULARY_DETECTION>', image, options).boxes[0].label, expected);
    }
  }
});

test("a score is exp of the mean log-probability of the instance's tokens", () => {
  const image = { width: 1000, height: 1000 };
  const poly = ['<poly>', '<loc_1>', '<loc_2>', '<loc_3>', '<loc_4>', '<sep>', '<loc_5>', '<loc_6>', '</poly>'];
  const eight = [0, 1, 2, 3, 4, 5, 8, 7].map(bin => `<loc_${bin}>`);
  // The tokens of an answer, their log-probabilities, and the expected means over the tokens that scores include.
  const cases: [
    task: string,
    tokens: string[],
    logProbs: number[],
    scores: (result: TaskResult) => unknown,
    expected: number[],
  ][] = [
    [
      '<REGION_PROPOSAL>',
      eight,
      [-1, -1, -1, -1, -2, -2, -2, -4],
      r => 'boxes' in r && r.boxes.map(b => b.score),
      [-1, -2.5],
    ],
    [
      '<OCR_WITH_REGION>',
      ['STOP', ...eight],
      [-9, 0, 0, 0, 0, 0, 0, -4, -4],
      r => 'quads' in r && r.quads.map(q => q.score),
      [-1],
    ],
    [
      '<REFERRING_EXPRESSION_SEGMENTATION>',
      poly,
      [-9, -1, -1, -1, -1, -9, -4, -4, -9],
      r => 'instances' in r && r.instances.map(p => p.score),
      [-2],
    ],
    [
      '<OPEN_VOCABULARY_DETECTION>',
      ['car', ...poly],
      [-9, -9, -1, -1, -1, -1, -9, -4, -4, -9],
      r => 'instances' in r && r.instances.map(p => p.score),
      [-2],
    ],
    [
      '<CAPTION_TO_PHRASE_GROUNDING>',
      ['a', 'Ġdog', ...eight, 'Ġcafé', ...eight.slice(4)],
      [-1, -3, -1, -1, -1, -1, -2, -2, -2, -2, -5, -6, -6, -6, -6],
      r => 'phrases' in r && r.phrases.flatMap(p => [p.labelScore, ...p.boxes.map(b => b.score)]),
      [-2, -1, -2, -5, -6],
    ],
  ];
  for (const [task, tokens, logProbs, scores, expected] of cases) {
    // A word may be several tokens of the vocabulary, which all get its log-probability: `café` is two.
    const pieces = tokens.map(token => tokenizer.encode(token.replace('Ġ', ' '), { addSpecialTokens: false }));
    const ids = [2, 0, ...pieces.flat(), 2];
    const all = [-7, ...pieces.flatMap((piece, i) => piece.map(() => logProbs[i])), -7];
    const result = parse({ ids, logProbs: all, tokenizer }, task, image);
    const found = scores(result) as number[];
    assert.is(found.length, expected.length, task);
    for (const [i, mean] of expected.entries()) {
      assert.ok(Math.abs(Math.log(found[i]) - mean) < 1e-9, `${task}: score ${i} is ${found[i]}, not exp(${mean})`);
    }
    assert.equal(
      parse({ ids, logProbs: [-7, ...all], tokenizer }, task, image),
      result,
      'a log-probability for each id, also the first',
    );
    assert.not.ok(
      JSON.stringify(parse({ ids, tokenizer }, task, image)).includes('score'),
      `${task}: no scores without log-probabilities`,
    );
  }
});

test('a confidence is the probability of the words times the geometric mean of the probabilities near the locations', () => {
  const image = { width: 1000, height: 1000 };
  const four = ['<loc_1>', '<loc_2>', '<loc_3>', '<loc_4>'];
  const eight = [...four, ...four];
  const poly = ['<poly>', ...four, '<sep>', '<loc_5>', '<loc_6>', '</poly>'];
  // The tokens of an answer, the probabilities near them, and the expected confidences.
  const cases: [
    task: string,
    tokens: string[],
    nearby: number[],
    confidences: (result: TaskResult) => (number | undefined)[] | false,
    expected: number[],
  ][] = [
    ['<REGION_PROPOSAL>', four, [0.1, 0.2, 0.4, 0.8], r => 'boxes' in r && r.boxes.map(b => b.confidence), [0.2828427]],
    [
      '<OD>', // two boxes share a label of two tokens: 0.5 · 0.8 · (0.9⁴)^¼, 0.5 · 0.8 · (0.2² · 0.8²)^¼
      ['a', 'Ġdog', ...eight],
      [0.5, 0.8, 0.9, 0.9, 0.9, 0.9, 0.2, 0.8, 0.2, 0.8],
      r => 'boxes' in r && r.boxes.map(b => b.confidence),
      [0.36, 0.16],
    ],
    [
      '<OCR_WITH_REGION>',
      ['a', ...eight],
      [0.5, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5],
      r => 'quads' in r && r.quads.map(q => q.confidence),
      [0.3535534], // 0.5 · √0.5
    ],
    [
      '<CAPTION_TO_PHRASE_GROUNDING>',
      ['dog', ...eight],
      [0.5, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5],
      r => 'phrases' in r && r.phrases.flatMap(p => p.boxes.map(b => b.confidence)),
      [0.5, 0.25],
    ],
    [
      '<REFERRING_EXPRESSION_SEGMENTATION>', // tags do not count
      poly,
      [0.1, 0.5, 0.5, 0.5, 0.5, 0.1, 0.5, 0.5, 0.1],
      r => 'instances' in r && r.instances.map(p => p.confidence),
      [0.5],
    ],
    [
      '<OPEN_VOCABULARY_DETECTION>',
      ['a', ...poly],
      [0.7, 0.1, 0.5, 0.5, 0.5, 0.5, 0.1, 0.5, 0.5, 0.1],
      r => 'instances' in r && r.instances.map(p => p.confidence),
      [0.35],
    ],
  ];
  for (const [task, tokens, nearby, confidences, expected] of cases) {
    const pieces = tokens.map(token => tokenizer.encode(token.replace('Ġ', ' '), { addSpecialTokens: false }));
    const ids = [2, 0, ...pieces.flat(), 2];
    assert.is(ids.length, tokens.length + 3, 'a token for each word');
    const nearbyProbs = [1, ...nearby, 0.3];
    const logProbs = nearbyProbs.map(() => -4);
    const found = confidences(parse({ ids, logProbs, nearbyProbs, tokenizer }, task, image)) as number[];
    assert.is(found.length, expected.length, task);
    expected.forEach((wanted, i) => {
      assert.ok(Math.abs(found[i] - wanted) < 1e-6, `${task}: confidence ${i} is ${found[i]}, not ${wanted}`);
    });
    assert.equal(confidences(parse({ ids, logProbs, tokenizer }, task, image)), expected.map(() => undefined)); // biome-ignore format: one line
  }
});

test('the words of boxes have the geometric mean of the probabilities of their tokens', () => {
  const image = { width: 1000, height: 1000 };
  const ids = [2, ...tokenizer.encode('a dog<loc_1><loc_2><loc_3><loc_4>')];
  const result = parse({ ids, logProbs: [0, -1, -3, -9, -9, -9, -9, -9], tokenizer }, '<OD>', image);
  assert.ok(Math.abs(result.boxes[0].labelScore! - Math.exp(-2)) < 1e-9);
});

test('the confidence of a text is the probability of the whole answer, with its end', () => {
  const image = { width: 1000, height: 1000 };
  const ids = [2, ...tokenizer.encode('a dog')];
  for (const task of ['<CAPTION>', '<DocVQA>What?']) {
    const result = parse({ ids, logProbs: [0, -1, -0.5, -0.25], tokenizer }, task, image);
    assert.ok('text' in result && Math.abs(result.confidence! - Math.exp(-1.75)) < 1e-9, task);
    const unknown = parse('a dog', task, image);
    assert.not.ok('confidence' in unknown, task);
  }
});

test('log-probabilities that differ in number from the ids are refused', () => {
  const image = { width: 1000, height: 1000 };
  for (const logProbs of [[], [0, 0], [0, 0, 0, 0, 0]]) {
    assert.throws(
      () => parse({ ids: [2, 0, 102, 2], logProbs, tokenizer }, '<CAPTION>', image),
      (e: unknown) => e instanceof UsageError && /An answer of 4 ids has . log-probabilities/.test(e.message),
      `${logProbs.length} log-probabilities`,
    );
  }
});

test('fields of all results', () => {
  const image = { width: 640, height: 480 };
  const result = parse('</s><s>A cat. </s><pad>', '<CAPTION>', image, { truncated: true });
  const expected = { task: '<CAPTION>', text: 'A cat.', imageSize: image, answer: 'A cat. ', truncated: true };
  assert.equal(result, expected);
  assert.equal(JSON.parse(JSON.stringify(result)), expected, 'results are plain data');
  const prompt = parse('12', '<DocVQA> What is the total?', image);
  assert.is(prompt.task, 'prompt');
  assert.ok('prompt' in prompt && prompt.prompt === '<DocVQA> What is the total?' && prompt.text === '12');
  assert.throws(() => parse('a<loc_1><loc_1><loc_1><loc_1>', '<OD>', { width: 0, height: 1 }), /expected at least 1x1/);
});

test('time grows with the length of an answer, not with its square', () => {
  const size = { width: 640, height: 480 };
  const answer = `car<loc_1><loc_2>OPEN<loc_${'x'.repeat(2_000_000)} pm<loc_1>`; // took hours
  for (const { task } of TASKS) {
    for (const keepMalformed of [false, true]) assert.is(parse(answer, task, size, { keepMalformed }).task, task);
  }
});

test.run();
