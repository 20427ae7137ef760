import { Command, Option } from 'commander';
import type { TrainFlags } from '../actions/train.ts';
import { hiddenAlias, parser } from '../options.ts';
import type { TrainConfig } from '../train/config.ts';
import { flagOf, keyOf, SETTINGS, SETTINGS_BY_PATH, type Setting } from '../train/settings.ts';

/** `florence2 train`: fine-tunes a checkpoint, in full or with a LoRA adapter. */
export function trainCommand(): Command {
  const command = new Command('train')
    .summary('fine-tune a checkpoint, in full or with LoRA')
    .description(
      'Fine-tunes a checkpoint on datasets of images with answers. Ctrl-C saves and stops. --resume continues from ' +
        'there, or from the last save after a crash.',
    );
  for (const [heading, settings] of Object.entries(SETTINGS)) {
    command.optionsGroup(heading);
    if (heading === 'Adapter:') command.option('--lora', 'train a LoRA adapter instead of the whole model');
    for (const option of settings.flatMap(optionsOf)) command.addOption(option);
  }
  return command
    .optionsGroup('Options:')
    .option('--config <file>', 'settings as JSON. Keys are flag names in camelCase ("output" for --out, "newTokens" for --new-token); LoRA settings are in an object "lora", augmentation in "augment". Flags override the file') // biome-ignore format: one line
    .option('--check', 'check the data without training: list problems by file and line. Exit code 1 if training would refuse the data') // biome-ignore format: one line
    .option('--decode', 'with --check: decode each image; default: read the header and the end of its file')
    .addHelpText('after', EXAMPLES)
    .action(async (flags: TrainFlags) => {
      const { runTrain } = await import('../actions/train.ts');
      await runTrain(givenSettings(command), flags);
    });
}

const EXAMPLES = `
Examples:
  $ florence2 train -d data/dents --check
  $ florence2 train -d data/dents -o runs/dents --lora --epochs 10
  $ florence2 train -d data/dents -d data/old:0.2 -o runs/both --lora --r 16 --alpha 32 --batch-size 4
  $ florence2 train -d data/dents -o runs/dents --resume
  $ florence2 train --config run.json --learning-rate 5e-5
  $ florence2 run photo.jpg -t od --adapter runs/dents/best`;

/** Returns the flags of a setting: its main flag, a hidden alias, a `--no-…` flag. A setting may have none of them. */
function optionsOf(setting: Setting): Option[] {
  const { short, alias, kind, help, negative } = setting;
  const flag = flagOf(setting);
  const options: Option[] = [];
  const named = (names: string): Option => {
    const option = new Option(kind.placeholder ? `${names} ${kind.placeholder}` : names, help);
    return kind.placeholder ? option.argParser(parser(kind)) : option;
  };
  if (flag !== null && help !== undefined) {
    const option = named(`${short ? `${short}, ` : ''}--${flag}`);
    options.push(setting.default === undefined ? option : option.default(setting.default, setting.defaultText));
    if (alias !== undefined) options.push(hiddenAlias(alias, option));
  }
  if (negative !== undefined) options.push(new Option(`--no-${flag}`, negative));
  return options;
}

/** Returns the settings given on the command line, by their keys in a config file. Defaults are not included. */
function givenSettings(command: Command): TrainConfig {
  const isGiven = (key: string): boolean => command.getOptionValueSource(key) === 'cli';
  const config: Record<string, unknown> = {};
  const groups: Record<string, Record<string, unknown>> = {};
  if (isGiven('lora')) groups.lora = {};
  for (const setting of SETTINGS_BY_PATH.values()) {
    const key = keyOf(setting);
    if (key === undefined || !isGiven(key)) continue;
    const given = command.getOptionValue(key);
    const value = setting.kind.repeatable && given === false ? [] : given;
    if (setting.group === undefined) config[setting.name] = value;
    else {
      groups[setting.group] ??= {};
      groups[setting.group][setting.name] = value;
    }
  }
  return { ...config, ...groups };
}
