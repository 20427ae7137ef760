import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Florence2, Florence2Error, Question, UsageError } from '../src/index.ts';
import { testBackend, withoutLeaks } from './backend.ts';
import { tinyCheckpoint } from './tiny_checkpoint.ts';

const image = { data: new Uint8Array(7 * 3 * 3).map((_, i) => i * 4), width: 7, height: 3 };
const checkpoint = await tinyCheckpoint();
const model = await Florence2.load(checkpoint, { backend: testBackend });
const features = await model.encodeImage(image);

/** Each call with options that it does not check by type. */
const calls: Record<string, (options: object) => Promise<unknown>> = {
  run: options => model.run(features, '<OD>', options),
  runBatch: options => model.runBatch([{ image: features, task: '<OD>' }], options),
  runWithHooks: options => model.runWithHooks(features, '<OD>', [], options),
  runWithCache: options => model.runWithCache(features, '<OD>', options),
  stream: options => model.stream(features, '<OD>', options).next(),
  generate: options => model.generate([features], ['What is this?'], options),
  'Question.ask': options => Question.ask(model, image, '<OD>', options),
};

async function failure(call: Promise<unknown>): Promise<UsageError> {
  const error = await call.then(
    () => assert.unreachable('no error'),
    error => error,
  );
  assert.instance(error, UsageError);
  return error;
}

for (const [name, call] of Object.entries(calls)) {
  test(`${name} suggests the name of a mistyped option, and refuses values of another kind`, async () => {
    for (const [options, message] of [
      [{ max_new_tokens: 2 }, / has no option max_new_tokens\. Did you mean maxNewTokens\?$/],
      [{ numBeam: 1 }, / has no option numBeam\. Did you mean numBeams\?$/],
      [{ do_sample: true }, / has no option do_sample\. Did you mean doSample\?$/],
      [{ maxNewTokens: 'x' }, /^maxNewTokens must be a whole number of at least 1, not "x"\.$/],
      [{ signal: 5 }, /^signal must be an AbortSignal, not 5\.$/],
    ] as const) {
      assert.match((await withoutLeaks(() => failure(call(options)))).message, message);
    }
  });
}

test('calls that return one answer refuse several sequences', async () => {
  for (const name of ['run', 'runBatch', 'runWithHooks', 'runWithCache', 'stream']) {
    const { message } = await failure(calls[name]({ numBeams: 3, numReturnSequences: 3 }));
    assert.match(
      message,
      name === 'stream' ? /^numBeams must be 1 \(a stream has no beams\)/ : /`generate` returns several/,
    );
  }
});

test('runBatch with onError skip returns the errors in the places of their requests', async () => {
  const short = { maxNewTokens: 4 };
  const requests = [
    { image: features, task: '<OD>' },
    { image: 'nowhere.png', task: '<OD>' },
    { image: features, task: '<REGION_TO_OCR>', box: [0, 0, 7, 3] },
    { image: features, task: '<REGION_TO_OCR>', box: [0, 0, 70, 3] },
    { image: features, task: '<CAPTON>' },
  ];
  const results = await withoutLeaks(() => model.runBatch(requests, { ...short, onError: 'skip' }));
  assert.equal(
    results.map(result => (result instanceof Florence2Error ? result.code : result.task)),
    ['<OD>', 'FILE_NOT_FOUND', '<REGION_TO_OCR>', 'INVALID_ARGUMENT', 'UNKNOWN_TASK'],
  );
  const alone = await model.run(features, '<OD>', short);
  assert.is((results[0] as typeof alone).answer, alone.answer);
  const error = await failure(model.runBatch(requests.slice(3), short));
  assert.match(error.message, /^The box 0,0,70,3 is not within the image, which has 7 × 3 pixels\.$/);
  const wrong = await failure(model.runBatch(requests, { onError: 'ignore' as 'skip' }));
  assert.match(wrong.message, /^onError must be throw or skip, not "ignore"\.$/);
});

test('fields of requests are checked', async () => {
  const request = { image: features, task: 'grounding', txt: 'a dog' };
  const { message } = await failure(model.runBatch([request as never]));
  assert.match(message, /^requests\[0\] has no option txt\. Did you mean text\?$/);
});

test('features and models that were disposed say so', async () => {
  const gone = await model.encodeImage(image);
  gone.dispose();
  const other = await Florence2.load(checkpoint, { backend: testBackend });
  other.dispose();
  for (const [call, message] of [
    [model.run(gone, '<OD>'), 'The image features have been disposed: encode the image again.'],
    [other.run(image, '<OD>'), 'The model, or an adapter of it, has been disposed: load it again.'],
  ] as const) {
    const error = await failure(call);
    assert.is(error.code, 'DISPOSED');
    assert.is(error.message, message);
  }
});

test.after(() => {
  features.dispose();
  model.dispose();
});
test.run();
