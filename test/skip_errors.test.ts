import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Florence2Error } from '../src/errors.ts';
import { skipErrors } from '../src/skip_errors.ts';

/** Doubles numbers; a batch with a negative number fails. */
async function double(numbers: readonly number[]): Promise<number[]> {
  const wrong = numbers.find(number => number < 0);
  if (wrong !== undefined) throw new Florence2Error(`${wrong} is negative.`);
  return numbers.map(number => 2 * number);
}

for (const numbers of [[], [1], [-1], [1, 2, 3], [-1, 2, 3], [1, 2, -3], [1, -2, 3, -4, 5], [-1, -2, -3]]) {
  test(`items ${numbers.join(', ') || 'none'}`, async () => {
    const results = await skipErrors(numbers, double);
    assert.equal(
      results.map(result => (result instanceof Florence2Error ? result.message : result)),
      numbers.map(number => (number < 0 ? `${number} is negative.` : 2 * number)),
    );
  });
}

test('a batch without errors runs once', async () => {
  let runs = 0;
  await skipErrors([1, 2, 3, 4], numbers => {
    runs++;
    return double(numbers);
  });
  assert.is(runs, 1);
});

test('other errors end the call', async () => {
  const bug = new TypeError('x');
  const error = await skipErrors([1, 2], () => Promise.reject(bug)).catch(error => error);
  assert.is(error, bug);
});

test.run();
