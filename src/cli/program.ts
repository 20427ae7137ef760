import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { UsageError } from '../errors.ts';
import { calibrateCommand } from './commands/calibrate.ts';
import { diffCommand } from './commands/diff.ts';
import { doctorCommand } from './commands/doctor.ts';
import { featuresCommand } from './commands/features.ts';
import { inspectCommand } from './commands/inspect.ts';
import { parityCommand } from './commands/parity.ts';
import { runCommand } from './commands/run.ts';
import { setupCommand } from './commands/setup.ts';
import { trainCommand } from './commands/train.ts';
import { verifyCommand } from './commands/verify.ts';
import { isRepeatable } from './options.ts';

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
    calibrateCommand(),
    setupCommand(),
    doctorCommand(),
    parityCommand(),
    verifyCommand(),
    diffCommand(),
    featuresCommand(),
    inspectCommand(),
  ]) {
    program.addCommand(command);
  }
  return throwing(program);
}

/** Makes a command throw its errors, and refuse a flag that is given twice unless it collects values. */
function throwing(command: Command): Command {
  command.exitOverride();
  command.configureOutput({ outputError: (text, write) => write(errorLine(text)) });
  const given = new Set<string>();
  for (const option of command.options.filter(option => !option.isBoolean() && !isRepeatable(option))) {
    command.on(`option:${option.name()}`, () => {
      if (given.has(option.name())) throw new UsageError(`${option.long} was given twice, but takes one value.`);
      given.add(option.name());
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
  return `florence2: ${message}${hint ? ` ${hint.replace(/^\(|\)$/g, '')}` : ''}\n`;
}
