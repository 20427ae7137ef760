import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { UsageError } from '../src/errors.ts';
import * as kinds from '../src/options.ts';
import { show } from '../src/show.ts';

interface Options {
  numBeams?: number;
  over?: 'heads' | 'positions';
  onStep?: () => void;
}
const table: kinds.OptionTable<Options> = {
  numBeams: kinds.count,
  over: kinds.oneOf('heads', 'positions'),
  onStep: kinds.callback,
};
const check = (options: unknown): void => kinds.checkOptions('sweep', options as Options, table);

for (const [options, code, message] of [
  [{ num_beams: 2 }, 'UNKNOWN_OPTION', 'sweep has no option num_beams. Did you mean numBeams?'],
  [{ do_sample: true }, 'UNKNOWN_OPTION', 'sweep has no option do_sample. Its options are numBeams, over and onStep.'],
  [{ toString: 1 }, 'UNKNOWN_OPTION', 'sweep has no option toString. Its options are numBeams, over and onStep.'],
  [{ numBeams: 'x' }, 'INVALID_ARGUMENT', 'numBeams must be a whole number of at least 1, not "x".'],
  [{ numBeams: null }, 'INVALID_ARGUMENT', 'numBeams must be a whole number of at least 1, not null.'],
  [{ numBeams: [2] }, 'INVALID_ARGUMENT', 'numBeams must be a whole number of at least 1, not [2].'],
  [{ over: 'layers' }, 'INVALID_ARGUMENT', 'over must be heads or positions, not "layers".'],
  [{ onStep: new Date(0) }, 'INVALID_ARGUMENT', 'onStep must be a function, not an object of type Date.'],
  [null, 'INVALID_ARGUMENT', 'The options of sweep must be an object, not null.'],
  [3, 'INVALID_ARGUMENT', 'The options of sweep must be an object, not 3.'],
] as const) {
  test(`${show(options)} is refused`, () => {
    assert.throws(
      () => check(options),
      (error: unknown) => error instanceof UsageError && error.code === code && error.message === message,
    );
  });
}

test('allowed options and undefined ones are accepted', () => {
  check({});
  check({ numBeams: undefined, over: 'heads', onStep: () => {} });
});

test('only the options of the table are picked', () => {
  const options = { numBeams: 2, over: undefined, signal: 1 };
  assert.equal(kinds.pickOptions(options, table), { numBeams: 2 });
});

for (const [kind, allowed, refused] of [
  [kinds.count, [1, 2 ** 53 - 1], [0, 1.5, '1', Number.NaN]],
  [kinds.whole, [0], [-1]],
  [kinds.integer, [-3], [0.5, Infinity]],
  [kinds.finite, [-0.5], [Infinity, '1']],
  [kinds.number, [0, 2.5], [-1]],
  [kinds.positive, [0.1], [0]],
  [kinds.share, [0, 1], [1.01]],
  [kinds.rate, [0, 0.99], [1]],
  [kinds.onOff, [true, false], [1]],
  [kinds.text, ['a'], ['', 5]],
  [kinds.callback, [() => {}], ['x']],
  [kinds.abortSignal, [new AbortController().signal], [new AbortController()]],
  [kinds.oneOf(true, 'never'), [true, 'never'], ['true', false]],
  [kinds.listOf(kinds.whole, 'heads'), [[], [1], Int32Array.of(2)], [1, [-1], ['1']]],
  [kinds.instanceOf(Date, 'a date'), [new Date(0)], [0]],
] as [kinds.Kind, unknown[], unknown[]][]) {
  test(`values that are ${kind.expected}`, () => {
    for (const value of allowed) assert.ok(kind.allows(value), show(value));
    for (const value of refused) assert.not.ok(kind.allows(value), show(value));
  });
}

test.run();
