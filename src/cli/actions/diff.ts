import { UsageError } from '../../errors.ts';
import { diffRuns } from '../../internals/diff/compare_runs.ts';
import type { DiffOptions, RunSpec } from '../../internals/diff/report.ts';
import { interruptSignal } from '../exit.ts';
import { findInputs } from '../inputs.ts';
import type { ModelFlags } from '../load_model.ts';
import { type ImageFlags, imageOptions, type QuestionFlags, requireQuestion } from '../options.ts';
import { diffLines, imageLines } from '../print/diff.ts';
import { finiteNumbers } from '../print/numbers.ts';
import { print } from '../print/terminal.ts';
import { ProgressBars } from '../progress.ts';

/** Compares two runs and prints the result image by image. With --tolerance the exit code is 1 if a point differs. */
export async function runDiff(args: string[], flags: DiffFlags): Promise<void> {
  const [a, b] = readRuns(flags);
  const question = requireQuestion(flags);
  const images = await findInputs(args, imageOptions(flags));
  const bars = new ProgressBars();
  const show = (lines: string[]): void => {
    bars.stop();
    print(...lines);
  };
  const { at, tolerance, maxNewTokens, json } = flags;
  const options: DiffOptions = {
    ...question,
    ...{ at, tolerance, maxNewTokens },
    ...imageOptions(flags),
    signal: interruptSignal(),
    onProgress: bars.onProgress,
    ...(!json && { onImage: image => show(imageLines(image)) }),
  };
  const report = await diffRuns(a, b, images, options).finally(() => bars.stop());
  show(json ? [JSON.stringify(report, finiteNumbers, 1)] : diffLines(report));
  if (tolerance !== undefined && !report.within) process.exitCode = 1;
}

function readRuns(flags: DiffFlags): [a: RunSpec, b: RunSpec] {
  const { model, revision, subfolder, processor, adapter, adapterRevision, backend, imageSize } = flags;
  const { bModel, bRevision, bAdapter, bBackend } = flags;
  if ([bModel, bRevision, bAdapter, bBackend].every(flag => flag === undefined)) {
    throw new UsageError('Both runs are the same: give --b-model, --b-revision, --b-adapter or --b-backend.');
  }
  const other = bAdapter === 'none' ? undefined : (bAdapter ?? adapter);
  const inherited = bModel === undefined ? { revision, subfolder } : {}; // both belong to one repository
  return [
    { model, revision, subfolder, processor, adapter, adapterRevision, backend, imageSize },
    {
      model: bModel ?? model,
      ...inherited,
      ...(bRevision !== undefined && { revision: bRevision }),
      processor,
      adapter: other,
      ...(bAdapter === undefined && { adapterRevision }),
      backend: bBackend ?? backend,
      imageSize,
    },
  ];
}

export interface DiffFlags extends ModelFlags, ImageFlags, QuestionFlags {
  bModel?: string;
  bRevision?: string;
  bAdapter?: string;
  bBackend?: ModelFlags['backend'];
  at?: string[];
  tolerance?: number;
  maxNewTokens?: number;
  json?: boolean;
}
