/** The checkpoints that the paper has figures for. */
export const PUBLISHED_MODELS = ['base', 'large', 'base-ft', 'large-ft'] as const;

/**
 * The figures of Florence-2's paper (arXiv 2311.06242, tables 4 to 6) by benchmark and split, in percent, in the order of
 * `PUBLISHED_MODELS`; NaN for those it does not have. Where its prose differs, the tables count.
 */
const PUBLISHED = {
  'coco-caption': {
    'Karpathy test': [133.0, 135.6, 140.0, 143.3],
  },
  textcaps: {
    val: [70.1, 72.8, 143.9, 151.1],
  },
  'coco-detection': {
    val2017: [34.7, 37.5, 41.4, 43.4],
  },
  refcoco: {
    val: [53.9, 56.3, 92.6, 93.4],
    testA: [58.4, 61.6, 94.8, 95.3],
    testB: [49.7, 51.4, 91.5, 92.0],
  },
  'refcoco+': {
    val: [51.5, 53.6, 86.8, 88.3],
    testA: [56.4, 57.9, 91.7, 92.9],
    testB: [47.9, 49.9, 82.2, 83.6],
  },
  refcocog: {
    val: [66.3, 68.0, 89.8, 91.2],
    test: [65.1, 67.0, 82.2, 91.7],
  },
  'refcoco-res': {
    val: [34.6, 35.8, 78.0, 80.5],
  },
  textvqa: {
    'test-dev': [Number.NaN, Number.NaN, 63.6, 73.5],
  },
} as const satisfies Record<string, Record<string, readonly number[]>>;

/** The name of a benchmark of the paper. */
export type BenchmarkName = keyof typeof PUBLISHED;

/** The names of the benchmarks. */
export const BENCHMARK_NAMES = Object.keys(PUBLISHED) as BenchmarkName[];

/** Returns the figures of the paper for a benchmark by split. */
export const publishedFigures = (name: BenchmarkName): Record<string, readonly number[]> => PUBLISHED[name];
