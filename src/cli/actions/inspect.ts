import { extname } from 'node:path';
import { UsageError } from '../../errors.ts';
import { writeWhole } from '../../files/write.ts';
import { uprightBox } from '../../geometry/orientation.ts';
import { decodeForModel } from '../../image/decode.ts';
import { collectReport, nameOf } from '../../inspect/collect.ts';
import { renderReport } from '../../inspect/html.ts';
import { type AnswerFlags, answerOptions } from '../answer_options.ts';
import { interruptSignal } from '../exit.ts';
import { findInputs } from '../inputs.ts';
import { loadModel, type ModelFlags } from '../load_model.ts';
import { type ImageFlags, imageOptions, type QuestionFlags, requireQuestion } from '../options.ts';
import { print, printNote } from '../print/terminal.ts';
import { ProgressBars } from '../progress.ts';

/** Runs one task, writes the page about it, and prints the answer. */
export async function runInspect(path: string, flags: InspectFlags): Promise<void> {
  const { out, model: name, adapter } = flags;
  if (!['.html', '.htm'].includes(extname(out).toLowerCase())) {
    throw new UsageError(`--out ${out}: the page must be an .html file.`);
  }
  const { task, ...asked } = requireQuestion(flags);
  const [input, ...others] = await findInputs([path], imageOptions(flags));
  if (others.length > 0) throw new UsageError(`A page is about one image, but ${path} has ${others.length + 1}.`);
  const { image, turned } = await decodeForModel(await input.read(), imageOptions(flags));
  const box = asked.box && uprightBox(asked.box, image, turned);
  const signal = interruptSignal();
  const model = await loadModel(flags);
  const bars = new ProgressBars();
  try {
    const report = await collectReport(model, image, task, {
      ...asked,
      box,
      ...answerOptions(flags),
      signal,
      names: { model: name, adapter, image: nameOf(input.name) },
      onStage: (stage, index, count) => bars.show(stage, index, count, 'steps'),
    });
    bars.stop();
    const page = Buffer.from(await renderReport(report));
    await writeWhole(out, page);
    print(report.answer.text);
    printNote(`Wrote ${out} (${(page.length / 1e6).toFixed(1)} MB).`);
  } finally {
    bars.stop();
    model.dispose();
  }
}

export interface InspectFlags extends ModelFlags, ImageFlags, QuestionFlags, AnswerFlags {
  out: string;
}
