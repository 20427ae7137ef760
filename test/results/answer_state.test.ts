import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type AnswerPart, AnswerState, type PlacesKind } from '../../src/results/answer_state.ts';
import { ANSWER_FORMS } from '../../src/results/grammar.ts';
import { parse } from '../../src/results/parse/parse.ts';
import { TASKS } from '../../src/text/tasks.ts';
import { random } from '../generation/toy.ts';

const kinds = Object.keys(ANSWER_FORMS) as PlacesKind[];
const parts: AnswerPart[] = ['words', 'location', '<sep>', '<poly>', '</poly>', 'end'];
const image = { width: 640, height: 480 };

interface Written {
  text: string;
  state: AnswerState;
}

/** Writes one part, at random among those that may follow. */
function write({ text, state }: Written, part: AnswerPart, next: () => number): Written {
  if (part === 'words') return { text: `${text}${state.inLabel ? ' ' : ''}car`, state: state.after(part, true) };
  if (part !== 'location') return { text: part === 'end' ? text : text + part, state: state.after(part) };
  const bins: number[] = []; // low bins, so that corners would often be equal
  for (let bin = 0; bin < 1000 && bins.length < 3; bin++) if (state.allowsBin(bin)) bins.push(bin);
  const bin = bins[Math.floor(next() * bins.length)];
  return { text: `${text}<loc_${bin}>`, state: state.after(part, bin) };
}

const isForm = (kind: PlacesKind, text: string): boolean => ANSWER_FORMS[kind]!.pattern.exec(text)![0] === text;

test('whatever follows the allowed parts has the form of the answer, and nothing of it is dropped', () => {
  for (const kind of kinds) {
    const { task } = TASKS.find(row => row.answer === kind)!;
    const next = random(kind.length);
    const lengths = new Set<number>();
    for (let round = 0; round < 100; round++) {
      let written: Written = { text: '', state: AnswerState.start(kind) };
      const limit = Math.floor(next() * 40);
      for (let n = 0; ; n++) {
        const allowed = parts.filter(part => written.state.allows(part));
        assert.ok(allowed.length > 0, written.text);
        assert.is(isForm(kind, written.text), allowed.includes('end'), `${kind}: ${written.text}`);
        if (allowed.includes('end') && n >= limit) break;
        const going = allowed.filter(part => part !== 'end');
        written = write(written, going[Math.floor(next() * going.length)], next);
      }
      const result = parse(written.text, task, image);
      assert.not.ok('dropped' in result, `${kind}: ${written.text}`);
      lengths.add(written.text.length);
    }
    assert.ok(lengths.size > 5, kind);
  }
});

test('parts that may not follow would break the form', () => {
  for (const kind of kinds) {
    const next = random(7);
    for (let round = 0; round < 20; round++) {
      let written: Written = { text: '', state: AnswerState.start(kind) };
      for (let n = 0; n < 15; n++) {
        for (const part of parts.filter(part => !written.state.allows(part) && part !== 'end')) {
          if (kind === 'quads' && part.startsWith('<')) continue; // there tags are text
          const wrong =
            part === 'words' ? `${written.text}car` : `${written.text}${part === 'location' ? '<loc_9>' : part}`;
          assert.not.ok(completes(kind, wrong), `${kind}: ${wrong}`);
        }
        const going = parts.filter(part => written.state.allows(part) && part !== 'end');
        written = write(written, going[Math.floor(next() * going.length)], next);
      }
    }
  }
});

/** Whether some usual end makes a text a form of the answer. */
function completes(kind: PlacesKind, text: string): boolean {
  const places = [0, 1, 2, 3, 4, 5, 6, 7, 8].map(n => '<loc_9>'.repeat(n));
  const ends = ['', '</poly>', `</poly><poly>${places[6]}</poly>`];
  return ['', 'x'].some(word => places.some(place => ends.some(end => isForm(kind, text + word + place + end))));
}

test('the number of tokens to the end is that of the shortest way', () => {
  for (const kind of kinds) {
    const next = random(3);
    for (let round = 0; round < 15; round++) {
      let written: Written = { text: '', state: AnswerState.start(kind) };
      for (let n = 0; n < 20; n++) {
        const going = parts.filter(part => written.state.allows(part) && part !== 'end');
        written = write(written, going[Math.floor(next() * going.length)], next);
        assert.is(written.state.tokensToEnd(), shortest(written.state), `${kind}: ${written.text}`);
      }
    }
  }
});

/** Searches breadth first. */
function shortest(state: AnswerState): number {
  let reached = [state];
  for (let tokens = 1; ; tokens++) {
    if (reached.some(one => one.allows('end'))) return tokens;
    reached = reached.flatMap(one =>
      parts
        .filter(part => part !== 'end' && part !== 'words' && one.allows(part))
        .map(part => write({ text: '', state: one }, part, () => 0).state),
    );
  }
}

test('boxes and quads have an area', () => {
  const after = (kind: PlacesKind, ...bins: number[]): AnswerState => {
    const start = kind === 'quads' ? AnswerState.start(kind).after('words', true) : AnswerState.start(kind);
    return bins.reduce((state, bin) => state.after('location', bin), start);
  };
  const cases: [state: AnswerState, bin: number, allowed: boolean][] = [
    [after('proposals'), 998, true],
    [after('proposals'), 999, false],
    [after('proposals', 5), 999, false],
    [after('proposals', 5, 9), 5, false],
    [after('proposals', 5, 9), 6, true],
    [after('proposals', 5, 9, 6), 9, false],
    [after('proposals', 5, 9, 6), 10, true],
    [after('proposals', 5, 9, 6, 10), 3, true],
    [after('quads', 4, 1, 4, 2, 4, 3), 4, false],
    [after('quads', 4, 1, 4, 2, 4, 3), 3, true],
    [after('quads', 4, 1, 4, 1, 5, 1, 4), 1, false],
    [after('quads', 4, 1, 4, 2, 5, 1, 4), 1, true],
    [after('polygons', 4, 1, 4, 1, 4), 1, true],
  ];
  for (const [i, [state, bin, allowed]] of cases.entries()) assert.is(state.allowsBin(bin), allowed, `case ${i}`);
});

test.run();
