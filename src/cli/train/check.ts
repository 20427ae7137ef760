import { existsSync } from 'node:fs';
import { findCheckpoint } from '../../checkpoint/find.ts';
import { loadConfig } from '../../checkpoint/load_config.ts';
import { loadTokenizer } from '../../checkpoint/tokenizer_files.ts';
import { checkExamples, type DatasetReport } from '../../datasets/check.ts';
import { checkDataset } from '../../datasets/open.ts';
import type { DatasetProblem } from '../../datasets/reading.ts';
import { type LengthLimits, lengthLimits } from '../../datasets/tokenize.ts';
import { Florence2Error } from '../../errors.ts';
import type { Florence2 } from '../../florence2.ts';
import { openFolder } from '../../platform/node.ts';
import { resolveTask } from '../../text/tasks.ts';
import type { Tokenizer } from '../../text/tokenizer.ts';
import { print, printNote } from '../print/terminal.ts';
import { ProgressBars } from '../progress.ts';
import type { TrainConfig } from './config.ts';
import { allSplits, type OpenedData, openData } from './datasets.ts';

/**
 * Checks every split of all datasets, and prints problems and statistics. The exit code is 1 if training would refuse
 * the data. Lengths are measured only if the model is on disk, because nothing is downloaded here.
 *
 * @param decode decodes each image, instead of reading its header and the end of its file
 */
export async function checkData(config: TrainConfig, decode: boolean): Promise<void> {
  const { task, model } = config;
  const isLocal = model !== undefined && config.processor === undefined && (model === 'demo' || existsSync(model));
  const limits = isLocal
    ? await readLimits(await findCheckpoint(model, { subfolder: config.subfolder }), config.imageSize)
    : {};
  const imageCheck = decode ? 'decode' : 'header';
  const options = { tasks: task?.map(resolveTask), imageCheck, imageRoot: config.imageRoot, ...limits } as const;
  const bars = new ProgressBars();
  const found: DatasetProblem[] = [];
  for (const { path, split } of await allSplits(config)) {
    const onProgress = (done: number, total: number) => bars.show(`Checking ${split}`, done, total, 'images');
    const checked = await checkDataset(path, { ...options, split, onProgress }).finally(() => bars.stop());
    const required = split === 'train' || path === config.valid;
    const report = checked.images > 0 || required ? checked : { ...checked, problems: checked.problems.map(asWarning) };
    print(...datasetLines(report));
    found.push(...report.problems);
  }
  const known = new Set(found.map(lineOf));
  const ofRun = (await openData(config)).problems.filter(problem => !known.has(lineOf(problem)));
  if (ofRun.length > 0) print('The run', ...problemLines(ofRun));
  if (hasError([...found, ...ofRun])) process.exitCode = 1;
}

const lineOf = ({ severity, source, message }: DatasetProblem): string => `${source}: ${severity}: ${message}`;

/** A split that is empty and that no run requires is a warning. */
const asWarning = (problem: DatasetProblem): DatasetProblem => ({ ...problem, severity: 'warning' });

const hasError = (problems: readonly DatasetProblem[]): boolean =>
  problems.some(({ severity }) => severity === 'error');

async function readLimits(path: string, imageSize?: number): Promise<{ tokenizer: Tokenizer; limits: LengthLimits }> {
  const folder = openFolder(path);
  const [tokenizer, { config, preprocessor }] = await Promise.all([loadTokenizer(folder), loadConfig(folder)]);
  const size = imageSize === undefined ? preprocessor : { width: imageSize, height: imageSize };
  return { tokenizer, limits: lengthLimits(config, size) };
}

/**
 * Checks the annotations of a run with the model that it trains, and prints the number of warnings.
 *
 * @param problems those of opening the data
 * @throws Florence2Error with the first error, unless bad examples are skipped
 */
export async function checkBeforeTraining(
  { train, valid, problems }: OpenedData,
  { tokenizer, config, preprocessor }: Florence2,
  skipBad: boolean,
): Promise<void> {
  const all = [...problems];
  const limits = lengthLimits(config, preprocessor);
  for (const dataset of new Set([...train.map(({ dataset }) => dataset), ...valid])) {
    const report = await checkExamples(dataset, { tokenizer, limits, imageCheck: 'none' });
    all.push(...report.problems);
  }
  const warnings = all.filter(({ severity }) => severity === 'warning').length;
  if (warnings > 0) printNote(`${plural(warnings, 'warning')} about the data: --check lists them.`);
  if (!skipBad) refuse(all);
}

/** @throws Florence2Error with the first error and the number of the others */
export function refuse(problems: readonly DatasetProblem[]): void {
  const [first, ...others] = problems.filter(({ severity }) => severity === 'error');
  if (!first) return;
  const more =
    others.length > 0
      ? ` There ${others.length === 1 ? 'is' : 'are'} ${plural(others.length, 'more error')}: --check lists all.`
      : '';
  throw new Florence2Error(`${first.source}: ${first.message}${more}`);
}

/** At most this many labels and sizes are listed by name. */
const MOST_LISTED = 12;

function datasetLines({ name, problems, images, targets, labels, imageSizes, tokens }: DatasetReport): string[] {
  const errors = problems.filter(({ severity }) => severity === 'error').length;
  const rows: [string, string][] = [
    ['images', String(images)],
    ['targets', counted(targets)],
    ['labels', counted(labels)],
    ['image sizes', counted(imageSizes)],
    [
      'tokens',
      tokens
        ? `${tokens.answers} in answers, the longest ${tokens.longestAnswer}; the longest prompt ${tokens.longestPrompt}`
        : '',
    ],
    ['problems', `${plural(errors, 'error')}, ${plural(problems.length - errors, 'warning')}`],
  ];
  return [
    name,
    ...problemLines(problems),
    ...rows.filter(([, text]) => text !== '').map(([title, text]) => `  ${title.padEnd(15)} ${text}`),
  ];
}

/** Formats problems, those of the same words in one line: `train.jsonl:3,8,9: error: The image a.jpg does not exist.` */
function problemLines(problems: readonly DatasetProblem[]): string[] {
  const groups = new Map<string, string[]>();
  for (const { severity, source, message } of problems) {
    const words = `${severity}: ${message}`;
    groups.set(words, [...(groups.get(words) ?? []), source]);
  }
  return [...groups].map(([words, sources]) => `  ${sourcesOf(sources)}: ${words}`);
}

/** Formats places, lines of the same file together: `a.jsonl:3,8 b.jsonl:1`. */
function sourcesOf(sources: readonly string[]): string {
  const lines = new Map<string, string[]>();
  for (const source of sources) {
    const [, file = source, line] = /^(.+):(\d+)$/s.exec(source) ?? [];
    lines.set(file, [...(lines.get(file) ?? []), ...(line === undefined ? [] : [line])]);
  }
  return [...lines].map(([file, numbers]) => (numbers.length > 0 ? `${file}:${numbers.join(',')}` : file)).join(' ');
}

/** Formats counts by name: `cat 12, dog 7, and 3 more`. */
function counted(counts: Record<string, number>): string {
  const entries = Object.entries(counts);
  const listed = entries.slice(0, MOST_LISTED).map(([name, count]) => `${name} ${count}`);
  const more = entries.length - listed.length;
  return [...listed, ...(more > 0 ? [`and ${more} more`] : [])].join(', ');
}

const plural = (count: number, what: string): string => `${count} ${count === 1 ? what : `${what}s`}`;
