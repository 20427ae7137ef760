import { extname } from 'node:path';
import { readAdapterConfig } from '../../adapters/read.ts';
import type { LoadOptions } from '../../checkpoint/load.ts';
import { UsageError } from '../../errors.ts';
import { writeWhole } from '../../files/write.ts';
import { Florence2 } from '../../florence2.ts';
import { decodeImage } from '../../image/decode.ts';
import { collectReport, nameOf } from '../../inspect/collect.ts';
import { renderReport } from '../../inspect/html.ts';
import { interruptSignal } from '../exit.ts';
import { backendLine } from '../load_model.ts';
import { type QuestionFlags, readQuestion } from '../options.ts';
import { ProgressBars } from '../progress.ts';

/** Asks, collects and writes. Prints the path of the page. */
export async function runInspect(path: string, flags: InspectFlags): Promise<void> {
  const { out, model: source, adapter, revision, backend, imageSize, applyOrientation } = flags;
  if (!['.html', '.htm'].includes(extname(out).toLowerCase())) {
    throw new UsageError(`--out ${out}: a report is a page, so name an .html file.`);
  }
  const question = readQuestion(flags);
  if (!question) throw new UsageError('Nothing is asked: name a --task or a --prompt.');
  const image = await decodeImage(path, { applyOrientation });
  if (adapter !== undefined) await readAdapterConfig(adapter); // complains before the model is loaded
  const signal = interruptSignal();
  const bars = new ProgressBars();
  const model = await Florence2.load(source, { revision, backend, imageSize, onProgress: bars.onProgress }).finally(
    () => bars.stop(),
  );
  process.stderr.write(`${backendLine(model)}\n`);
  try {
    if (adapter !== undefined) {
      await model.loadAdapter(adapter);
      model.adapters.mergeAndUnload();
    }
    const { task, ...asked } = question;
    const report = await collectReport(model, image, task, {
      ...asked,
      names: { model: source, adapter, image: nameOf(path) },
      ...{ numBeams: flags.beams, maxNewTokens: flags.maxNewTokens, keepUnicode: flags.keepUnicode, signal },
      onStage: (stage, index, count) => bars.show(stage, index, count, 'steps'),
    });
    bars.stop();
    const page = Buffer.from(await renderReport(report));
    await writeWhole(out, page);
    process.stdout.write(`${report.answer.text}\n`);
    process.stderr.write(`Wrote ${out} (${(page.length / 1e6).toFixed(1)} MB).\n`);
  } finally {
    bars.stop();
    model.dispose();
  }
}

export interface InspectFlags extends QuestionFlags {
  out: string;
  model: string;
  revision?: string;
  adapter?: string;
  backend: LoadOptions['backend'];
  beams?: number;
  maxNewTokens?: number;
  imageSize?: number;
  applyOrientation?: boolean;
  keepUnicode?: boolean;
}
