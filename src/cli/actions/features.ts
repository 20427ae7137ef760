import type { Activation } from '../../activations/activation.ts';
import { ArrayFile, arrayFileKind } from '../../activations/array_file.ts';
import { Florence2Error } from '../../errors.ts';
import { FeatureReader } from '../../internals/feature_reader.ts';
import { skipErrors } from '../../skip_errors.ts';
import { interruptSignal, printError, reportFailures } from '../exit.ts';
import { findInputs, type InputImage } from '../inputs.ts';
import { loadModel, type ModelFlags } from '../load_model.ts';
import { type ImageFlags, imageOptions, type QuestionFlags, readQuestion } from '../options.ts';
import { nameOnOneLine, print } from '../print/terminal.ts';
import { ProgressBars } from '../progress.ts';

/**
 * Reads the images batch by batch and appends each batch to the file. The first image that fails ends the run; with
 * `--on-error skip` its row is NaN, the others follow, and the exit code is 1.
 */
export async function runFeatures(args: string[], flags: FeatureFlags): Promise<void> {
  arrayFileKind(flags.out);
  const question = readQuestion(flags);
  const inputs = await findInputs(args, imageOptions(flags));
  const images = inputs.map(({ name }) => name);
  const signal = interruptSignal();
  const { maxNewTokens, pool } = flags;
  const model = await loadModel(flags);
  const bars = new ProgressBars();
  let file: ArrayFile | undefined;
  try {
    const options = { ...question, ...imageOptions(flags), maxNewTokens, pool, signal };
    const reader = new FeatureReader(model, flags.at, options);
    const read = async (batch: readonly InputImage[]): Promise<Row[]> => {
      const read = await reader.read(await Promise.all(batch.map(input => input.read())));
      const rows = read.map((row, i) => ({ ...row, image: batch[i].name }));
      known ??= rows[0];
      for (const row of rows) requireShape(row, known);
      return rows;
    };
    let known: Row | undefined;
    let failed = 0;
    let waiting = 0; // rows of failed images that precede the first known shape
    for (let first = 0; first < images.length; first += flags.batch) {
      signal.throwIfAborted();
      if (images.length > 1) bars.show('Images', first, images.length, 'images');
      const batch = inputs.slice(first, first + flags.batch);
      for (const row of flags.onError === 'skip' ? await skipErrors(batch, read) : await read(batch)) {
        const isError = row instanceof Florence2Error;
        if (isError) {
          failed++;
          bars.stop();
          printError(row);
        }
        if (!known) {
          waiting++;
          continue;
        }
        file ??= await ArrayFile.create(flags.out, {
          shape: [images.length, ...known.shape],
          name: reader.point!,
          metadata: metadataOf(images, flags, reader.point!, question?.task),
        });
        const none = new Float32Array(known.values.length).fill(Number.NaN);
        for (; waiting > 0; waiting--) await file.append(none);
        await file.append(isError ? none : row.values);
      }
    }
    if (!file) throw new Florence2Error(`None of the ${images.length} images can be read.`);
    await file.finish();
    reportFailures(failed, images.length);
    file = undefined;
  } finally {
    bars.stop();
    await file?.abandon();
    model.dispose();
  }
  print(...images.map(nameOnOneLine));
}

/** The activation of one image. */
interface Row extends Activation {
  image: string;
}

/** Prompts and answers may have different lengths for different images. */
function requireShape({ shape, image }: Row, known: Row): void {
  if (shape.join() === known.shape.join()) return;
  throw new Florence2Error(
    `${image}: the activation has shape [${shape}], but that of ${known.image} has [${known.shape}]: use --pool mean.`,
  );
}

function metadataOf(images: string[], { model, adapter, pool, text }: FeatureFlags, at: string, task?: string) {
  return {
    format: 'pt',
    images: JSON.stringify(images),
    ...{ model, at, pool },
    ...(adapter !== undefined && { adapter }),
    ...(task !== undefined && { task }),
    ...(text !== undefined && { text }),
  };
}

export interface FeatureFlags extends ModelFlags, ImageFlags, QuestionFlags {
  at: string;
  out: string;
  pool: 'mean' | 'none';
  batch: number;
  maxNewTokens?: number;
  onError: 'stop' | 'skip';
}
