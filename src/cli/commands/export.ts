import { Command, Option } from 'commander';
import type { ExportFlags } from '../actions/export.ts';
import { addModelOptions } from '../options.ts';

/** `florence2 export`: writes a model, with an adapter merged, for other programs. */
export function exportCommand(): Command {
  const command = new Command('export')
    .summary('write a model, with an adapter merged, for other programs')
    .description(
      'Writes a model with the adapter merged into the weights: as a checkpoint of safetensors for this package and for ' +
        'transformers in Python, or as ONNX models for ONNX Runtime and transformers.js. A folder appears when it is ' +
        'complete.',
    )
    .option('--safetensors <dir>', 'new folder for a checkpoint')
    .option('--onnx <dir>', 'new folder for ONNX models');
  return addCheckpointOptions(command)
    .addHelpText('after', EXPORT_EXAMPLES)
    .action(async (flags: ExportFlags & { safetensors?: string; onnx?: string }) => {
      const { runExport } = await import('../actions/export.ts');
      await runExport(flags, flags);
    });
}

/** `florence2 merge`: short form of `florence2 export --safetensors`. */
export function mergeCommand(): Command {
  const command = new Command('merge')
    .summary('merge an adapter into a checkpoint')
    .description('Short form of "florence2 export --safetensors": writes a model with the adapter merged.')
    .argument('<out>', 'new folder for the checkpoint');
  return addCheckpointOptions(command)
    .addHelpText('after', MERGE_EXAMPLES)
    .action(async (out: string, flags: ExportFlags) => {
      const { runExport } = await import('../actions/export.ts');
      await runExport({ safetensors: out }, flags);
    });
}

const addCheckpointOptions = (command: Command): Command =>
  addModelOptions(command)
    .addOption(
      new Option(
        '--layout <name>',
        "names and files of transformers' Florence-2 (native), or of Microsoft's code (microsoft); default: as loaded",
      ).choices(['native', 'microsoft']),
    )
    .option('--dtype <types>', `${DTYPE_HELP}; default: fp32`);

const DTYPE_HELP =
  'type of the weights: fp32, fp16 or bf16 for a checkpoint; fp32, fp16, q8 or several (fp32,q8) for ONNX models';

const EXPORT_EXAMPLES = `
Examples:
  $ florence2 export --safetensors dents --adapter runs/dents/best
  $ florence2 export --safetensors dents --adapter runs/dents/best --layout native --dtype fp16
  $ florence2 export --onnx dents-onnx --adapter runs/dents/best --dtype fp32,q8`;

const MERGE_EXAMPLES = `
Examples:
  $ florence2 merge dents --adapter runs/dents/best
  $ florence2 run photo.jpg -t od --model ./dents`;
