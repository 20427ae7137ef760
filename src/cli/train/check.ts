import { existsSync } from 'node:fs';
import { findCheckpoint } from '../../checkpoint/find.ts';
import { loadConfig } from '../../checkpoint/load_config.ts';
import { loadTokenizer } from '../../checkpoint/tokenizer_files.ts';
import type { DatasetReport } from '../../datasets/check.ts';
import { checkDataset } from '../../datasets/open.ts';
import { openFolder } from '../../platform/node.ts';
import { resolveTask } from '../../text/tasks.ts';
import type { Tokenizer } from '../../text/tokenizer.ts';
import { ProgressBars } from '../progress.ts';
import type { TrainConfig } from './config.ts';
import { allSplits } from './datasets.ts';

/**
 * Checks every split of all datasets, and prints problems and statistics. The exit code is 1 if training would refuse
 * the data. Answer lengths are measured only if the model is on disk, because nothing is downloaded here.
 */
export async function checkData(config: TrainConfig): Promise<void> {
  const { task, model, subfolder } = config;
  const isLocal = model !== undefined && (model === 'demo' || existsSync(model));
  const limits = isLocal ? await readLimits(await findCheckpoint(model, { subfolder })) : {};
  const tasks = task?.map(resolveTask);
  const bars = new ProgressBars();
  let errors = 0;
  for (const { path, split } of await allSplits(config)) {
    const onProgress = (done: number, total: number) => bars.show(`Checking ${split}`, done, total, 'images');
    const report = await checkDataset(path, { split, tasks, onProgress, ...limits }).finally(() => bars.stop());
    process.stdout.write(`${datasetLines(report).join('\n')}\n`);
    errors += report.problems.filter(({ severity }) => severity === 'error').length;
  }
  if (errors > 0) process.exitCode = 1;
}

async function readLimits(folder: string): Promise<{ tokenizer: Tokenizer; maxPositions: number }> {
  const [tokenizer, { config }] = await Promise.all([
    loadTokenizer(openFolder(folder)),
    loadConfig(openFolder(folder)),
  ]);
  return { tokenizer, maxPositions: config.text.maxPositionEmbeddings };
}

/** At most this many labels and sizes are listed by name. */
const MOST_LISTED = 12;

function datasetLines({ name, problems, images, targets, labels, imageSizes, longestAnswer }: DatasetReport): string[] {
  const errors = problems.filter(({ severity }) => severity === 'error').length;
  const rows: [string, string][] = [
    ['images', String(images)],
    ['targets', counted(targets)],
    ['labels', counted(labels)],
    ['image sizes', counted(imageSizes)],
    ['longest answer', longestAnswer === undefined ? '' : plural(longestAnswer, 'token')],
    ['problems', `${plural(errors, 'error')}, ${plural(problems.length - errors, 'warning')}`],
  ];
  return [
    name,
    ...problems.map(({ severity, source, message }) => `  ${source}: ${severity}: ${message}`),
    ...rows.filter(([, text]) => text !== '').map(([title, text]) => `  ${title.padEnd(15)} ${text}`),
  ];
}

/** Formats counts by name: `cat 12, dog 7, and 3 more`. */
function counted(counts: Record<string, number>): string {
  const entries = Object.entries(counts);
  const listed = entries.slice(0, MOST_LISTED).map(([name, count]) => `${name} ${count}`);
  const more = entries.length - listed.length;
  return [...listed, ...(more > 0 ? [`and ${more} more`] : [])].join(', ');
}

const plural = (count: number, what: string): string => `${count} ${count === 1 ? what : `${what}s`}`;
