import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { causeOf, isTransientStatus, NetworkError, retryAfter, withRetries } from '../../src/files/network.ts';

for (const [what, error, expected] of [
  ['a transient error', new NetworkError('no', true), 5],
  ['another network error', new NetworkError('no', false), 1],
  ['any other error', new Error('no'), 1],
] as const) {
  test(`${what}: ${expected} attempts`, async () => {
    let attempts = 0;
    const attempt = async () => {
      attempts++;
      throw error;
    };
    assert.is(await withRetries(attempt, 1).catch(error => error), error);
    assert.is(attempts, expected);
  });
}

test('the first success ends the attempts, and pauses double', async () => {
  const starts: number[] = [];
  const result = await withRetries(async () => {
    starts.push(performance.now());
    if (starts.length < 4) throw new NetworkError('no', true);
    return 'yes';
  }, 20);
  assert.is(result, 'yes');
  const pauses = starts.slice(1).map((start, i) => start - starts[i]);
  for (const [i, expected] of [20, 40, 80].entries())
    assert.ok(pauses[i] > expected - 2, `pause ${i}: ${pauses[i]} ms`);
});

test('statuses after which a request is repeated', () => {
  assert.equal([200, 400, 404, 408, 416, 429, 500, 503].filter(isTransientStatus), [408, 429, 500, 503]);
});

test('the cause of a failed fetch is the innermost message', () => {
  const refused = Object.assign(new AggregateError([new Error('connect ECONNREFUSED ::1:80')], ''), {
    code: 'ECONNREFUSED',
  });
  assert.is(causeOf(new TypeError('fetch failed', { cause: refused })), 'connect ECONNREFUSED ::1:80');
  assert.is(causeOf(Object.assign(new Error(''), { code: 'ETIMEDOUT' })), 'ETIMEDOUT');
  assert.is(causeOf('gone'), 'gone');
});

test('Retry-After in seconds, as a date, and malformed', () => {
  assert.is(retryAfter('120'), 120_000);
  const inTenSeconds = retryAfter(new Date(Date.now() + 10_000).toUTCString());
  assert.ok(inTenSeconds > 8000 && inTenSeconds <= 10_000, String(inTenSeconds));
  for (const header of [null, '', 'soon', '-5', 'Wed, 21 Oct 2015 07:28:00 GMT']) assert.is(retryAfter(header), 0);
});

test.run();
