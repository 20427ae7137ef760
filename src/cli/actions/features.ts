import type { Activation } from '../../activations/activation.ts';
import { ArrayFile, arrayFileKind } from '../../activations/array_file.ts';
import { expandImages } from '../../datasets/find_images.ts';
import { Florence2Error } from '../../errors.ts';
import { decodeForModel } from '../../image/decode.ts';
import { imageName } from '../../image/source.ts';
import { FeatureReader } from '../../internals/feature_reader.ts';
import { interruptSignal } from '../exit.ts';
import { loadModel, type ModelFlags } from '../load_model.ts';
import { type QuestionFlags, readQuestion } from '../options.ts';
import { ProgressBars } from '../progress.ts';

/** Reads the images batch by batch and appends each batch to the file. The first unreadable image ends the run. */
export async function runFeatures(args: string[], flags: FeatureFlags): Promise<void> {
  arrayFileKind(flags.out);
  const question = readQuestion(flags);
  const images = await expandImages(args);
  const signal = interruptSignal();
  const { maxNewTokens, pool } = flags;
  const model = await loadModel(flags);
  const bars = new ProgressBars();
  let file: ArrayFile | undefined;
  try {
    const reader = new FeatureReader(model, flags.at, { ...question, maxNewTokens, pool, signal });
    let shape: number[] | undefined;
    for (let first = 0; first < images.length; first += flags.batch) {
      signal.throwIfAborted();
      if (images.length > 1) bars.show('Images', first, images.length, 'images');
      const paths = images.slice(first, first + flags.batch);
      const raws = await Promise.all(paths.map(path => decodeForModel(path, flags)));
      for (const [i, row] of (await reader.read(raws.map(({ image }) => image))).entries()) {
        shape ??= row.shape;
        requireShape(row, shape, paths[i], images[0]);
        file ??= await ArrayFile.create(flags.out, {
          shape: [images.length, ...shape],
          name: reader.point!,
          metadata: metadataOf(images, flags, reader.point!, question?.task),
        });
        await file.append(row.values);
      }
    }
    await file!.finish();
    file = undefined;
  } finally {
    bars.stop();
    await file?.abandon();
    model.dispose();
  }
  process.stdout.write(`${images.map(imageName).join('\n')}\n`);
}

/** Prompts and answers may have different lengths for different images. */
function requireShape({ shape }: Activation, expected: number[], image: string, first: string): void {
  if (shape.join() === expected.join()) return;
  throw new Florence2Error(
    `${imageName(image)}: the activation has shape [${shape}], but that of ${imageName(first)} has [${expected}]: use --pool mean.`,
  );
}

function metadataOf(images: string[], { model, adapter, pool, text }: FeatureFlags, at: string, task?: string) {
  return {
    format: 'pt',
    images: JSON.stringify(images.map(imageName)),
    ...{ model, at, pool },
    ...(adapter !== undefined && { adapter }),
    ...(task !== undefined && { task }),
    ...(text !== undefined && { text }),
  };
}

export interface FeatureFlags extends ModelFlags, QuestionFlags {
  at: string;
  out: string;
  pool: 'mean' | 'none';
  batch: number;
  maxNewTokens?: number;
  orientation?: 'stored' | 'apply';
}
