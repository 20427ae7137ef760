import { Command, Option } from 'commander';
import type { ExportFlags } from '../actions/export.ts';
import { addModelOptions } from '../options.ts';

/** `florence2 export`: writes a model, with an adapter merged, for other programs. */
export function exportCommand(): Command {
  const command = new Command('export')
    .summary('write a model, with an adapter merged, for other programs')
    .description(
      'Writes a model as a checkpoint of safetensors, with the adapter merged into the weights: for this package and for ' +
        'transformers in Python. The folder appears when it is complete.',
    )
    .requiredOption('--safetensors <dir>', 'new folder for the checkpoint');
  return addCheckpointOptions(command)
    .addHelpText('after', EXPORT_EXAMPLES)
    .action(async (flags: ExportFlags & { safetensors: string }) => {
      const { runExport } = await import('../actions/export.ts');
      await runExport(flags.safetensors, flags);
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
      await runExport(out, flags);
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
    .addOption(new Option('--dtype <type>', 'type of the weights').choices(['fp32', 'fp16', 'bf16']).default('fp32'));

const EXPORT_EXAMPLES = `
Examples:
  $ florence2 export --safetensors dents --adapter runs/dents/best
  $ florence2 export --safetensors dents --adapter runs/dents/best --layout native --dtype fp16`;

const MERGE_EXAMPLES = `
Examples:
  $ florence2 merge dents --adapter runs/dents/best
  $ florence2 run photo.jpg -t od --model ./dents`;
