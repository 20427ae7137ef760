import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { answerRegions, coordinatesOf } from '../../src/inspect/answer_regions.ts';
import type { ReportToken } from '../../src/inspect/report.ts';
import { parse } from '../../src/results/parse/parse.ts';
import { binsToTokens } from '../../src/text/locations.ts';

const image = { width: 768, height: 512 };

/** Splits an answer into tokens, one per word. */
function tokensOf(answer: string): Pick<ReportToken, 'kind' | 'text'>[] {
  return (answer.match(/<[^>]+>| ?[^ <]+/g) ?? []).map(text => {
    const kind = text.startsWith('<loc_') ? 'location' : text.startsWith('<') ? 'special' : 'text';
    return { text, kind };
  });
}

const box = (first: number) => binsToTokens([first, first + 1, first + 2, first + 3]);
const range = (from: number, count: number) => Array.from({ length: count }, (_, i) => from + i);

interface Case {
  what: string;
  task: string;
  answer: string;
  /** Label, indices of its tokens, indices of its location tokens. */
  regions: [label: string, labelTokens: number[], locationTokens: number[]][];
}

const cases: Case[] = [
  {
    what: 'boxes with labels of one and two words',
    task: '<OD>',
    answer: `<s>car${box(10)}front door${box(20)}</s>`,
    regions: [
      ['car', [1], range(2, 4)],
      ['front door', [6, 7], range(8, 4)],
    ],
  },
  {
    what: 'boxes that share a label',
    task: '<OD>',
    answer: `<s>car${box(10)}${box(20)}</s>`,
    regions: [
      ['car', [1], range(2, 4)],
      ['car', [1], range(6, 4)],
    ],
  },
  {
    what: 'equal boxes have separate tokens',
    task: '<OD>',
    answer: `<s>a${box(10)}b${box(10)}</s>`,
    regions: [
      ['a', [1], range(2, 4)],
      ['b', [6], range(7, 4)],
    ],
  },
  { what: 'a truncated box is not a region', task: '<OD>', answer: '<s>car<loc_1><loc_2></s>', regions: [] },
  {
    what: 'a box after a truncated one',
    task: '<OD>',
    answer: `<s>car<loc_1><loc_2>door${box(20)}</s>`,
    regions: [['door', [4], range(5, 4)]],
  },
  {
    what: 'proposals have no labels',
    task: '<REGION_PROPOSAL>',
    answer: `<s>${box(10)}${box(30)}</s>`,
    regions: [
      ['', [], range(1, 4)],
      ['', [], range(5, 4)],
    ],
  },
  {
    what: 'phrases with several boxes',
    task: '<CAPTION_TO_PHRASE_GROUNDING>',
    answer: `<s>two doors${box(10)}${box(40)}a car${box(60)}</s>`,
    regions: [
      ['two doors', [1, 2], range(3, 4)],
      ['two doors', [1, 2], range(7, 4)],
      ['a car', [11, 12], range(13, 4)],
    ],
  },
  {
    what: 'polygons with an unpaired coordinate',
    task: '<REFERRING_EXPRESSION_SEGMENTATION>',
    answer: `<s>${binsToTokens([1, 2, 3, 4, 5, 6, 7])}<sep>${binsToTokens([11, 12, 13, 14, 15, 16])}</s>`,
    regions: [['', [], [...range(1, 6), ...range(9, 6)]]],
  },
  {
    what: 'quads',
    task: '<OCR_WITH_REGION>',
    answer: `<s>OPEN DAILY${binsToTokens(range(100, 8))}8 pm${binsToTokens(range(200, 8))}</s>`,
    regions: [
      ['OPEN DAILY', [1, 2], range(3, 8)],
      ['8 pm', [11, 12], range(13, 8)],
    ],
  },
  { what: 'captions have no regions', task: '<CAPTION>', answer: '<s>A car</s>', regions: [] },
];

for (const { what, task, answer, regions } of cases) {
  test(what, () => {
    const tokens = tokensOf(answer);
    const result = parse(answer, task, image);
    const found = answerRegions(result, tokens);
    assert.equal(
      found.map(({ label, labelTokens, locationTokens }) => [label, labelTokens, locationTokens]),
      regions,
    );
    const coordinates = coordinatesOf(found, tokens, image);
    for (const { kind, outlines, locationTokens } of found) {
      const said = locationTokens.map(token => coordinates.get(token)!);
      said.forEach(({ axis }, i) => {
        assert.is(axis, i % 2 === 0 ? 'x' : 'y');
      });
      const values = said.map(({ value }) => value);
      const [x1, y1, x2, y2] = values;
      assert.equal(outlines.flat(), kind === 'box' ? [x1, y1, x2, y1, x2, y2, x1, y2] : values);
    }
  });
}

test('equal labels have equal colours', () => {
  const answer = `<s>car${box(10)}door${box(20)}car${box(30)}</s>`;
  const [a, b, c] = answerRegions(parse(answer, '<OD>', image), tokensOf(answer));
  assert.is(a.color, c.color);
  assert.is.not(a.color, b.color);
});

test.run();
