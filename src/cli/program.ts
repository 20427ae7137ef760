import { readFileSync } from 'node:fs';
import { Command, type Option } from 'commander';
import { UsageError } from '../errors.ts';
import { calibrateCommand } from './commands/calibrate.ts';
import { convertCommand } from './commands/convert.ts';
import { diffCommand } from './commands/diff.ts';
import { doctorCommand } from './commands/doctor.ts';
import { evalCommand } from './commands/eval.ts';
import { exportCommand, mergeCommand } from './commands/export.ts';
import { featuresCommand } from './commands/features.ts';
import { hooksCommand } from './commands/hooks.ts';
import { inspectCommand } from './commands/inspect.ts';
import { parityCommand } from './commands/parity.ts';
import { runCommand } from './commands/run.ts';
import { setupCommand } from './commands/setup.ts';
import { trainCommand } from './commands/train.ts';
import { verifyCommand } from './commands/verify.ts';
import { isRepeatable } from './options.ts';
import { printProblem } from './print/terminal.ts';

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));

const EXAMPLES = `
Examples:
  $ florence2 run photo.jpg --task od --draw boxes.png
  $ florence2 run shapes.png --task caption --model demo
  $ florence2 run --help`;

/** Returns the command `florence2`. Its parse functions throw errors instead of ending the process. */
export function createProgram(): Command {
  const program = new Command('florence2')
    .description(
      'Florence-2 on TensorFlow.js: get captions, boxes, polygons and text from images, fine-tune the model, inspect it.',
    )
    .version(version, '--version', 'print the version')
    .addHelpText('after', EXAMPLES);
  for (const command of [
    runCommand(),
    trainCommand(),
    evalCommand(),
    calibrateCommand(),
    convertCommand(),
    exportCommand(),
    mergeCommand(),
    setupCommand(),
    doctorCommand(),
    parityCommand(),
    verifyCommand(),
    diffCommand(),
    hooksCommand(),
    featuresCommand(),
    inspectCommand(),
  ]) {
    program.addCommand(command);
  }
  return throwing(program);
}

/**
 * Makes a command throw its errors, refuse a flag that is given twice unless it collects values, and report a mistyped
 * flag before the required one that it was meant to be.
 */
function throwing(command: Command): Command {
  command.exitOverride();
  command.configureOutput({ outputError: text => printProblem(errorLine(text)) });
  command.configureHelp({ optionDescription });
  const given = new Set<string>();
  for (const option of command.options.filter(option => !option.isBoolean() && !isRepeatable(option))) {
    command.on(`option:${option.name()}`, () => {
      const name = option.attributeName(); // of an alias that of its flag
      if (given.has(name)) throw new UsageError(`${option.long} was given twice, but takes one value.`);
      given.add(name);
    });
  }
  for (const option of command.options.filter(({ mandatory }) => mandatory)) {
    option.mandatory = false; // commander would check it before it looks for unknown flags
    command.hook('preAction', () => {
      if (command.getOptionValue(option.attributeName()) !== undefined) return;
      throw new UsageError(`florence2 ${command.name()} needs ${option.flags}.`);
    });
  }
  command.commands.forEach(throwing);
  return command;
}

/** Returns an error message of commander as one line in the form of all other errors of this command. */
function errorLine(text: string): string {
  const [first, hint] = text
    .trim()
    .replace(/^error: /, '')
    .split('\n');
  const message = `${first[0].toUpperCase()}${first.slice(1)}${first.endsWith('.') ? '' : '.'}`;
  return `${message}${hint ? ` ${hint.replace(/^\(|\)$/g, '')}` : ''}`;
}

/**
 * Returns the help of a flag in one form for all commands: the description, then the values that it allows and the
 * default in brackets. A default in words is the end of the description, after `; default: `.
 */
function optionDescription({ description, argChoices, defaultValue, defaultValueDescription }: Option): string {
  const [text, inWords = defaultValueDescription] = description.split('; default: ');
  const value = inWords ?? (defaultValue === undefined ? undefined : String(defaultValue));
  const details = [
    ...(argChoices ? [argChoices.join(', ')] : []),
    ...(value === undefined ? [] : [`default: ${value}`]),
  ];
  return details.length > 0 ? `${text} (${details.join('; ')})` : text;
}
