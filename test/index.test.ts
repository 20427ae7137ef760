/** Every public call checks its options: the names, with the nearest one, and the kinds of the values. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as api from '../src/index.ts';
import { testBackend, withoutLeaks } from './backend.ts';
import { openTiny } from './internals/tiny_model.ts';
import { temporaryFolder } from './weights/temporary.ts';

const { Florence2, Question, UsageError } = api;
const model = await openTiny();
const image = { data: new Uint8Array(96 * 96 * 3).map((_, i) => (i * 2654435761) >>> 24), width: 96, height: 96 };
const question = await Question.ask(model, image, '<CAPTION>', { answer: 'A car' });
const features = await model.encodeImage(image);
const metric = api.answerLogProb();
const points = ['encoder', 'cross', 'window'].flatMap(kind => api.attentionPoints(kind as 'encoder'));
const cache = api.captureForced(model, question, points);
const pattern = 'language_model.encoder.layers.0.self_attn.hook_pattern';
const pair = { clean: question, corrupted: question, metric };
const over = { over: 'heads', at: 'language_model.encoder.layers.{layer}.self_attn.hook_z' } as const;
const site = { at: 'hook_logits' };
const lora = model.adapters.create('flags', { targets: ['fc2'], r: 1 });
const folder = temporaryFolder();
const dataset = await api.collectDataset('cars', [{ image, task: '<CAPTION>', answer: 'A car' }]);
const result = api.parse('', '<OD>', image);
const map = { data: Float32Array.of(1), width: 1, height: 1 };
const { tokenizer } = model;

/** A call with options, one of its options with a value of another kind, and the start of the message. */
type Call = [call: (options: never) => unknown, wrong: object, message: string];

const calls: Record<string, Call> = {
  'Florence2.load': [o => Florence2.load(model.folder, o), { imageSize: 1.5 }, 'imageSize must be'],
  encodeImage: [o => model.encodeImage(image, o), { orientation: 'turn' }, 'orientation must be'],
  encodeImages: [o => model.encodeImages([image], o), { maxPixels: 0 }, 'maxPixels must be'],
  run: [o => model.run(features, '<OD>', o), { numBeams: 'x' }, 'numBeams must be'],
  'run in tiles': [o => model.run(image, '<OD>', { tiles: o }), { size: 8, overlap: 2 }, 'overlap must be'],
  runBatch: [o => model.runBatch([], o), { onError: 'go' }, 'onError must be'],
  'a request': [
    o => model.runBatch([{ image: features, task: '<OD>', ...(o as object) }]),
    { text: 5 },
    'text must be',
  ],
  stream: [o => model.stream(features, '<OD>', o).next(), { signal: 5 }, 'signal must be'],
  generate: [o => model.generate([features], ['What?'], o), { maxNewTokens: 0 }, 'maxNewTokens must be'],
  runWithHooks: [o => model.runWithHooks(features, '<OD>', [], o), { numBeams: 0 }, 'numBeams must be'],
  runWithCache: [o => model.runWithCache(features, '<OD>', o), { lengthPenalty: 'x' }, 'lengthPenalty must be'],
  addHook: [o => model.addHook('hook_logits', () => {}, o), { readOnly: 1 }, 'readOnly must be'],
  withHooks: [o => model.withHooks([['hook_logits', () => {}, o]]), { readOnly: 1 }, 'readOnly must be'],
  loadAdapter: [o => model.loadAdapter('nowhere', o), { scale: 'x' }, 'scale must be'],
  'adapters.load': [o => model.adapters.load('nowhere', o), { name: '' }, 'name must be'],
  'adapters.save': [o => model.adapters.save('flags', folder, o), { layout: 'peft' }, 'layout must be'],
  'adapters.create': [o => model.adapters.create('other', o), { r: 0.5 }, 'r must be'],
  createLora: [o => api.createLora(model.model, o), { init: 'pissa' }, 'init must be'],
  'cache.get': [o => cache.get(pattern, o), { head: -1 }, 'head must be'],
  'cache.array': [o => cache.array(pattern, o), { step: 0.5 }, 'step must be'],
  'cache.save': [o => cache.save(`${folder}/x.safetensors`, o), { layout: 'numpy' }, 'layout must be'],
  'Question.ask': [o => Question.ask(model, image, '<OD>', o), { answer: 5 }, 'answer must be'],
  forcedLogits: [o => api.forcedLogits(model, question, o), { rows: 0 }, 'rows must be'],
  captureForced: [o => api.captureForced(model, question, '**', o), { from: 'start' }, 'from must be'],
  gradientsAt: [o => api.gradientsAt(model, question, metric, '**', o), { pixels: [1] }, 'pixels must be'],
  hookPoints: [o => api.hookPoints(model, image, '<OD>', o), { numBeams: 0 }, 'numBeams must be'],
  attention: [o => api.attention(cache, 'encoder', 0, 0, o), { row: -1 }, 'row must be'],
  'attention, labels': [o => api.attention(cache, 'cross', 0, 0, { labels: o }), { said: 'a' }, 'said must be'],
  encoderRollout: [o => api.encoderRollout(cache, o), { residual: 2 }, 'residual must be'],
  tokenRelevance: [o => api.tokenRelevance(cache, o), { layers: 'all' }, 'layers must be'],
  logitLens: [o => api.logitLens(model, question, o), { top: 0 }, 'top must be'],
  alternatives: [o => api.alternatives(model, question, o), { top: 'all' }, 'top must be'],
  lastLayerAttribution: [o => api.lastLayerAttribution(model, question, o), { tokens: 5 }, 'tokens must be'],
  patch: [o => api.patch(model, { ...pair, ...site, ...(o as object) }), { clean: image }, 'clean must be a Question'],
  patchSweep: [
    o => api.patchSweep(model, { ...pair, ...over, ...(o as object) }),
    { over: 'layers' },
    'over must be heads,',
  ],
  attributionPatch: [
    o => api.attributionPatch(model, { ...pair, ...over, ...(o as object) }),
    { layers: 'all' },
    'layers must be',
  ],
  ablationSweep: [
    o => api.ablationSweep(model, { question, metric, ...over, ...(o as object) }),
    { batchSize: 0 },
    'batchSize must be',
  ],
  ablate: [o => api.ablate(model, { ...site, ...(o as object) }), { heads: [0.5] }, 'heads must be'],
  steer: [o => api.steer(model, site, features.tensor, o), { scale: 'x' }, 'scale must be'],
  steeringVector: [o => api.steeringVector(cache, cache, pattern, o), { positions: 'all' }, 'positions must be'],
  integratedGradients: [o => api.integratedGradients(model, question, metric, o), { steps: 0 }, 'steps must be'],
  gradCam: [o => api.gradCam(model, question, metric, o), { stage: 'last' }, 'stage must be'],
  FeatureReader: [o => new api.FeatureReader(model, 'hook_logits', o), { pool: 'max' }, 'pool must be'],
  'FeatureReader.read': [o => new api.FeatureReader(model, '**', {}).read([], o), { onError: 'go' }, 'onError must be'],
  collectReport: [o => api.collectReport(model, image, '<OD>', o), { onStage: 1 }, 'onStage must be'],
  diffRuns: [
    o => api.diffRuns({ model: 'a' }, { model: 'b' }, [], { task: '<OD>', ...(o as object) }),
    { tolerance: -1 },
    'tolerance must be',
  ],
  'diffRuns, a run': [
    o => api.diffRuns({ model: 'a', ...(o as object) }, { model: 'b' }, [], { task: '<OD>' }),
    { backend: 'gpu' },
    'backend must be',
  ],
  checkParity: [o => api.checkParity('nowhere', o), { training: 1 }, 'training must be'],
  useBackend: [o => api.useBackend(testBackend, o), { softwareAdapter: 1 }, 'softwareAdapter must be'],
  calibrate: [o => api.calibrate(model, dataset, o), { onProgress: 1 }, 'onProgress must be'],
  answerOutcomes: [o => api.answerOutcomes(model, dataset, o), { numBeams: 0 }, 'numBeams must be'],
  evaluate: [o => api.evaluate(model, dataset, o), { numBeams: 0 }, 'numBeams must be'],
  evaluatePredictions: [o => api.evaluatePredictions(dataset, dataset, o), { keepUnicode: 1 }, 'keepUnicode must be'],
  evaluateBenchmark: [o => api.evaluateBenchmark(model, 'textvqa', 'nowhere', o), { numBeams: 0 }, 'numBeams must be'],
  Evaluator: [o => new api.Evaluator(o), { keepUnicode: 1 }, 'keepUnicode must be'],
  openAnnotations: [o => api.openAnnotations('nowhere', o), { onProblem: 1 }, 'onProblem must be'],
  exportOnnx: [o => api.exportOnnx(model, 'nowhere', o), { dtypes: ['q4'] }, 'dtypes must be a list of'],
  'Florence2.save': [o => model.save('nowhere', o), { layout: 'hf' }, 'layout must be'],
  convertDataset: [o => api.convertDataset('nowhere', 'out', o as never), { to: 'cocoa' }, 'to must be'],
  openDataset: [o => api.openDataset('nowhere', o), { onProblem: 1 }, 'onProblem must be'],
  checkDataset: [o => api.checkDataset('nowhere', o), { split: 'all' }, 'split must be'],
  collectDataset: [o => api.collectDataset('none', [], o), { onProblem: 1 }, 'onProblem must be'],
  augment: [o => api.augment({ image, targets: [] } as never, o, () => 0), { flip: 2 }, 'flip must be'],
  Trainer: [
    o => new api.Trainer(model, { train: dataset, output: folder, ...(o as object) }),
    { epochs: 0 },
    'epochs must be',
  ],
  decodeImage: [o => api.decodeImage(image, o), { maxPixels: 'x' }, 'maxPixels must be'],
  draw: [o => api.draw(image, [], o), { scores: 1 }, 'scores must be'],
  drawHeatmap: [o => api.drawHeatmap(image, map, o), { opacity: 2 }, 'opacity must be'],
  polygonsToMask: [o => api.polygonsToMask([], image, o), { minPoints: 'x' }, 'minPoints must be'],
  parse: [o => api.parse('', '<OD>', image, o), { areaThreshold: 2 }, 'areaThreshold must be'],
  mergeSightings: [o => api.mergeSightings([], o), { merge: 'max' }, 'merge must be'],
  mergeResults: [
    o => api.mergeResults([{ box: [0, 0, 1, 1], result }], image, o),
    { threshold: 2 },
    'threshold must be',
  ],
  tileBoxes: [o => api.tileBoxes(image, { size: 8, ...(o as object) }), { size: 0.5 }, 'size must be'],
  runTiled: [o => api.runTiled(model as never, image, [], o, {}), { size: 8, batch: 0 }, 'batch must be'],
  'tokenizer.encode': [o => tokenizer.encode('a', o), { maxLength: 'x' }, 'maxLength must be'],
  'tokenizer.encodeBatch': [o => tokenizer.encodeBatch(['a'], o), { padding: 'x' }, 'padding must be'],
  'tokenizer.decode': [o => tokenizer.decode([], o), { skipSpecialTokens: 1 }, 'skipSpecialTokens must be'],
};

async function failure(call: Call[0], options: object): Promise<api.UsageError> {
  const failed = async () => call(options as never);
  const error = await failed().then(
    () => assert.unreachable('no error'),
    (error: unknown) => error,
  );
  assert.instance(error, UsageError);
  return error as api.UsageError;
}

for (const [name, [call, wrong, message]] of Object.entries(calls)) {
  test(`${name} refuses unknown options and values of another kind`, () =>
    withoutLeaks(async () => {
      const option = Object.keys(wrong).at(-1)!;
      const mistyped = await failure(call, { [`${option}s_`]: 1 });
      assert.is(mistyped.code, 'UNKNOWN_OPTION');
      assert.ok(mistyped.message.endsWith(`. Did you mean ${option}?`), mistyped.message);
      const other = await failure(call, wrong);
      assert.ok(other.message.startsWith(message), other.message);
    }));
}

const wrong = (value: unknown) => value as never;

/** Calls with an argument of another kind, and the start of the message. */
const misused: [name: string, call: () => unknown, message: string][] = [
  ['encodeImages', () => model.encodeImages(wrong('a.png')), 'images must be a list of images, not "a.png"'],
  ['encodeImages', () => model.encodeImages([image], wrong(null)), 'The options of encodeImages must be an object'],
  ['runBatch', () => model.runBatch(wrong(null)), 'requests must be a list of requests, not null'],
  ['calibrate', () => api.calibrate(model, wrong(null)), 'dataset must be a dataset, as openDataset'],
  ['answerOutcomes', () => api.answerOutcomes(model, wrong({})), 'dataset must be a dataset, as openDataset'],
  ['evaluate', () => api.evaluate(model, wrong([])), 'dataset must be a dataset, as openDataset'],
  ['runBatch', () => model.runBatch(wrong({}), { onError: 'skip' }), 'requests must be a list of requests, not {}'],
  ['generate', () => model.generate(wrong([image]), ['What?']), 'features must be a list of image features'],
  ['generate', () => model.generate([features], wrong('What?')), 'prompts must be a list of texts, not "What?"'],
  ['stream', () => model.stream(features, '<OD>', wrong(null)).next(), 'The options of stream must be an object'],
  [
    'withHooks',
    () => model.withHooks(wrong('hook_logits')),
    'hooks must be a list of hooks [filter, function, options]',
  ],
  ['withHooks', () => model.withHooks(wrong([null])), 'hooks must be a list of hooks'],
  ['withHooks', () => model.withHooks([['hook_logits', () => {}, { step: wrong('last') }]]), 'step must be a step'],
  [
    'addHook',
    () => model.addHook('hook_logits', () => {}, { step: -1 }),
    'step must be a step (a whole number from 0)',
  ],
  ['runWithCache', () => model.runWithCache(features, '<OD>', { steps: wrong('all') }), 'steps must be a step'],
  ['runWithCache', () => model.runWithCache(features, '<OD>', { file: wrong(5) }), 'file must be a text, not 5'],
  ['Question.ask', () => Question.ask(model, image, '<OD>', { answer: [1e6] }), 'answer has the token id 1000000; ids'],
  ['forcedLogits', () => api.forcedLogits(model, wrong(null)), 'question must be a Question, not null'],
  ['gradientsAt', () => api.gradientsAt(model, question, wrong('x'), 'hook_logits'), 'metric must be a function'],
  ['gradCam', () => api.gradCam(model, wrong(null), metric), 'question must be a Question'],
  ['gradientRelevance', () => api.gradientRelevance(model, question, wrong(0)), 'metric must be a function, not 0'],
  ['integratedGradients', () => api.integratedGradients(model, wrong({}), metric), 'question must be a Question'],
  ['lastLayerAttribution', () => api.lastLayerAttribution(model, wrong(null)), 'question must be a Question'],
  ['attentionLabels', () => api.attentionLabels(model, wrong(null)), 'question must be a Question'],
  ['steer', () => api.steer(model, site, wrong(null)), 'vector must be a tensor, not null'],
  ['meanAblation', () => api.meanAblation(wrong(null)), 'caches must be an ActivationCache, or a list of them'],
  ['resampleAblation', () => api.resampleAblation(wrong([5])), 'caches must be an ActivationCache, or a list of them'],
  ['logitOf', () => api.logitOf(wrong('x'), 5), 'position must be a whole number of at least 0, not "x"'],
  ['filterByScore', () => api.filterByScore(result, wrong('0.5')), 'minScore must be a number from 0 to 1, not "0.5"'],
  ['filterByLabel', () => api.filterByLabel(result, wrong('car')), 'labels must be a list of texts, not "car"'],
  ['parse', () => api.parse('', '<CAPTON>', image), 'Unknown task "<CAPTON>". Did you mean <CAPTION>?'],
  ['generate', () => model.generate([features], ['What?'], wrong(null)), 'The options of generate must be an object'],
  ['draw', () => api.draw(wrong(null), []), 'image must have data, width and height, but it is null.'],
  ['draw', () => api.draw(image, wrong(null)), 'results must be a list of results, as run and parse return'],
  ['drawHeatmap', () => api.drawHeatmap(image, wrong(null)), 'map must be a map with data (a Float32Array)'],
  ['semanticMap', () => api.semanticMap(wrong(null), image), 'instances must be a list of instances with label'],
  ['readingOrder', () => api.readingOrder(wrong([null]), image), 'quads must be a list of lines with text and quad'],
  ['toHocr', () => api.toHocr(wrong([{}])), 'pages must be a list of images with their texts'],
  ['toAlto', () => api.toAlto(wrong({})), 'page must be an image with its text'],
  ['mergeResults', () => api.mergeResults([], image), 'views must be a list of at least one view with box and result'],
  ['filterByScore', () => api.filterByScore(wrong(null), 0.5), 'result must be a result, as run and parse return'],
  ['binsToTokens', () => api.binsToTokens([1000]), 'bins must be a list of whole numbers from 0 to 999, not [1000]'],
  ['addTokens', () => api.addTokens(model, wrong(5)), 'tokens must be a list of texts, not 5'],
  ['datasetSplits', () => api.datasetSplits(wrong(null)), 'path must be a text, not null'],
  ['tokenizer.encode', () => tokenizer.encode(wrong(5)), 'text must be a text, not 5'],
];

for (const [name, call, message] of misused) {
  test(`${name} refuses arguments of another kind: ${message}`, () =>
    withoutLeaks(async () => {
      const error = await failure(call, {});
      assert.ok(error.message.startsWith(message), error.message);
    }));
}

test('parse takes the names of tasks', () => {
  assert.equal(api.parse('', 'od', image), result);
});

/** Public functions without options, and classes that programs do not create. */
const WITHOUT_OPTIONS = new Set(
  `
  ActivationCache Adapters Florence2Error Florence2Model HookRegistry ImageFeatures LayerCache Lora LoraEmbedding LoraLayer
  Tokenizer UsageError addTokens answerLogProb attentionLabels attentionPoints auroc binsToTokens boxIou boxToTokens
  boxesToText checkAnswer compressCounts constructPrompt datasetSplits decodeRle decompressCounts
  denseWindowAttention dequantizeBox dequantizePoints encodeMask encodeRle expectedCalibrationError filterByLabel
  filterByScore findTask formatAnswer gradCamMap gradientRelevance gradientTimesInput headWeights holdOut inputGradients layoutText lengthLimits
  lensLogits
  logitDifference logitOf maskArea maskBounds maskIou meanAblation meanActivation openPdf oversample overImage parseAnswer
  pointsToTokens preprocess quantizeBox quantizePoints readingOrder renderReport resampleAblation resizeBicubic
  resolveTask rollout semanticMap semanticNpy semanticPng suggestTask taskInfo taskText toAlto toHocr toTensor
  windowAttentionFrom withNegatives writeCalibration zeroAblation
`.split(/\s+/),
);

test('every public function is listed', () => {
  const functions = Object.entries(api).flatMap(([name, value]) => (typeof value === 'function' ? [name] : []));
  const listed = new Set(Object.keys(calls).map(name => name.split(/[ .,]/)[0]));
  assert.equal(
    functions.filter(name => !listed.has(name) && !WITHOUT_OPTIONS.has(name)),
    [],
  );
});

test.after(() => {
  lora.dispose();
  features.dispose();
  cache.dispose();
  question.dispose();
  model.dispose();
});
test.run();
