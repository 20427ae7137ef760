import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Constraint } from '../../src/generation/constraint.ts';
import { generateSequences } from '../../src/generation/generate.ts';
import { type GenerationSettings, rowsPerItem } from '../../src/generation/options.ts';
import { ANSWER_FORMS } from '../../src/results/grammar.ts';
import { parse } from '../../src/results/parse/parse.ts';
import type { TaskResult } from '../../src/results/types.ts';
import { locationTokens } from '../../src/text/locations.ts';
import { TASKS } from '../../src/text/tasks.ts';
import { Tokenizer } from '../../src/text/tokenizer.ts';
import { tinyTokenizer } from '../../tools/tiny_tokenizer.ts';
import { withoutLeaks } from '../backend.ts';
import { plain, random, type ToyModel, ToySession } from './toy.ts';

const files = tinyTokenizer(300);
const tokenizer = Tokenizer.fromFiles({
  tokenizerJson: JSON.stringify(files.json),
  tokenizerConfig: JSON.stringify(files.config),
});
const V = tokenizer.size;
const { first, count } = locationTokens(tokenizer);
const image = { width: 640, height: 480 };
const florence = { forcedBosTokenId: 0, forcedEosTokenId: 2, noRepeatNgramSize: 3 };

/** Random logits in which words, tags, the end and locations are about equally probable, one row of 64 at random. */
const rows = Array.from({ length: 64 }, (_, row) => {
  const next = random(row);
  const [words, tags, end] = [4 * next() + 3, 4 * next() + 6, 4 * next() + 6];
  return Float32Array.from({ length: V }, (_, token) => {
    const boost = token >= first && token < first + count ? 3 : token >= first ? tags : token === 2 ? end : words;
    return boost + 3 * next();
  });
});
const model: ToyModel = (item, sequence) => {
  const hash = sequence.reduce((hash, token) => Math.imul(hash ^ token, 0x01000193), item + 7);
  return rows[(hash ^ (hash >>> 9)) & 63];
};

/** Returns an answer without `<s>` and `</s>`. */
const textOf = (ids: readonly number[]): string => tokenizer.decode(ids.filter(id => !tokenizer.isFrame(id)));

function decode(
  tasks: readonly string[],
  options: Partial<GenerationSettings>,
  constrain: Parameters<typeof Constraint.forTasks>[3] = true,
) {
  const constraints = Constraint.forTasks(tokenizer, plain.eosTokenIds, tasks, constrain);
  const settings = { ...plain, ...florence, ...options, constraints };
  return withoutLeaks(() => generateSequences(new ToySession(model, tasks.length, rowsPerItem(settings)), settings));
}

const structured = TASKS.filter(({ answer }) => answer !== 'text');
const tasks = structured.map(({ task }) => task);
const ways: Partial<GenerationSettings>[] = [
  { numBeams: 1 },
  { numBeams: 3, numReturnSequences: 3 },
  { numBeams: 1, doSample: true, topK: 0, numReturnSequences: 4 },
  { numBeams: 2, doSample: true, numReturnSequences: 2, repetitionPenalty: 1.3, minNewTokens: 9 },
];

test('every constrained answer has the form of its task, at any length, and nothing of it is dropped', async () => {
  const seen = new Set<string>();
  for (const way of ways) {
    for (const maxNewTokens of [2, 3, 7, 8, 12, 30]) {
      const answers = await decode(tasks, { ...way, maxNewTokens });
      for (const [i, { task, answer: kind }] of structured.entries()) {
        for (const { ids } of answers[i]) {
          const text = textOf(ids);
          const what = `${task}, ${JSON.stringify(way)}, at most ${maxNewTokens}: ${text}`;
          assert.is(ids.at(-1), 2, what);
          assert.is(ANSWER_FORMS[kind as keyof typeof ANSWER_FORMS]!.pattern.exec(text)![0], text, what);
          const result = parse(text, task, image);
          assert.not.ok('dropped' in result, what);
          if (placesOf(result) > 0) seen.add(task);
        }
      }
    }
  }
  assert.equal([...seen].sort(), [...tasks].sort(), 'all tasks have answers with places');
});

const placesOf = (result: TaskResult): number =>
  ['boxes', 'phrases', 'quads', 'instances'].reduce(
    (sum, name) => sum + ((result as unknown as Record<string, unknown[]>)[name]?.length ?? 0),
    0,
  );

test('without a constraint the same model writes malformed answers', async () => {
  const answers = await decode(tasks, { numBeams: 1, maxNewTokens: 33 }, false);
  const formed = answers.filter(([{ ids }], i) => {
    const text = textOf(ids);
    return ANSWER_FORMS[structured[i].answer as keyof typeof ANSWER_FORMS]!.pattern.exec(text)![0] === text;
  });
  assert.ok(formed.length < tasks.length / 2);
});

test('labels are only those of the classes, even one that the n-gram block would ban', async () => {
  const classes = ['car', 'red traffic light pole', 'a'];
  const labelled = tasks.filter(task => /<OD>|GROUNDING|OPEN_VOC|OCR_/.test(task));
  const seen = new Set<string>();
  for (const way of ways) {
    const answers = await decode(labelled, { ...way, maxNewTokens: 60, noRepeatNgramSize: 2 }, { classes });
    answers.forEach((list, i) => {
      for (const { ids } of list) {
        const result = parse(textOf(ids), labelled[i], image);
        assert.not.ok('dropped' in result);
        const labels = textOf(ids)
          .split(/<[^>]*>/)
          .filter(text => text !== '');
        for (const label of labels) {
          assert.ok(classes.includes(label), label);
          seen.add(label);
        }
      }
    });
  }
  assert.equal([...seen].sort(), [...classes].sort());
  const twice = await decode(['<OD>'], { numBeams: 1, maxNewTokens: 90, minNewTokens: 80 }, { classes: [classes[1]] });
  assert.ok(textOf(twice[0][0].ids).split(classes[1]).length > 2, 'the same label twice');
});

test('answers in words and to prompts are not constrained', () => {
  const free = TASKS.filter(({ answer }) => answer === 'text').map(({ task }) => task);
  const constraints = Constraint.forTasks(tokenizer, [2], [...free, 'What is this?', '<OD>'], true);
  assert.equal(constraints.slice(0, -1), [...free.map(() => null), null]);
  assert.ok(constraints.at(-1));
  assert.equal(Constraint.forTasks(tokenizer, [2], ['<OD>'], false), [null]);
});

test('a label that answers cannot contain is an error', () => {
  for (const label of ['a<b', 'a\nb', '<loc_3>']) {
    assert.throws(
      () => Constraint.forTasks(tokenizer, [2], ['<OD>'], { classes: ['car', label] }),
      (error: Error) => error.message.includes('cannot be a label'),
    );
  }
});

test.run();
