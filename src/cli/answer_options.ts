import { type Command, Option } from 'commander';
import { GENERATION_OPTIONS, type GenerationOptions } from '../generation/options.ts';
import type { RunOptions } from '../requests.ts';
import { type Kind, list, numeric, numericList } from './kinds.ts';
import { parser } from './options.ts';

/** The options of `Florence2.run` about decoding that flags set. */
type Decoding = Omit<GenerationOptions, 'numReturnSequences' | 'useCache' | Forced>;
type Forced = 'forcedBosTokenId' | 'forcedEosTokenId';

/** A flag of decoding. */
interface Flag {
  /** The flag, if it is not the option's name with dashes. */
  name?: string;
  help: string;
  /** How the value is read. Default: as a number; null for a switch. */
  kind?: Kind | null;
  /** Whether it matters only to sampling, which it turns on. */
  sampling?: boolean;
}

/** `true` and `false` are switches, `never` is a word. */
const stopping: Kind = {
  ...GENERATION_OPTIONS.earlyStopping,
  placeholder: '<true|false|never>',
  read: text => (text === 'never' ? text : new Map([['true', true], ['false', false]]).get(text)), // biome-ignore format: one line
};

const DECODING: Record<keyof Decoding, Flag> = {
  numBeams: { name: 'beams', help: 'number of beams; 1 is greedy search' },
  maxNewTokens: { help: 'maximum length of an answer in tokens' },
  minNewTokens: { help: 'minimum length of an answer in tokens' },
  earlyStopping: { help: 'when a beam search stops: with as many answers as beams, or later', kind: stopping },
  lengthPenalty: { help: 'favour long answers among the beams (above 0), or short ones (below 0)' },
  noRepeatNgramSize: { help: 'no sequence of this many tokens occurs twice in an answer; 0: no limit' },
  repetitionPenalty: { help: 'above 1: tokens that have occurred become less probable' },
  badWords: { help: 'comma-separated words that answers do not contain', kind: list },
  eosTokenIds: {
    help: 'comma-separated ids of the tokens that end an answer',
    kind: numericList(GENERATION_OPTIONS.eosTokenIds),
  },
  doSample: { help: 'draw tokens at random instead of taking the most probable ones', kind: null },
  seed: { help: 'seed of the samples', sampling: true },
  temperature: { help: 'below 1: sample probable tokens more often', sampling: true },
  topK: { help: 'sample only from this many most probable tokens; 0: from all', sampling: true },
  topP: { help: 'sample only from the most probable tokens with this probability in all', sampling: true },
  minP: { help: 'sample only from tokens with this share of the highest probability', sampling: true },
};

/** Flags of `addAnswerOptions`. */
export interface AnswerFlags extends Omit<Decoding, 'numBeams'> {
  beams?: number;
  constrain?: boolean;
  keepUnicode?: boolean;
  keepMalformed?: boolean;
}

/** Adds the flags of the commands that answer a dataset. */
export function addDatasetOptions(command: Command): Command {
  return command
    .option('--image-root <dir>', 'folder of the images, if it is not within the dataset')
    .addOption(
      new Option('--on-error <how>', 'stop at the first image that fails, or skip it')
        .choices(['stop', 'skip'])
        .default('stop'),
    );
}

/** Adds the flags that control how answers are generated and read. Without them the checkpoint's settings apply. */
export function addAnswerOptions(command: Command): Command {
  for (const [name, { name: flag, help, kind, sampling }] of Object.entries(DECODING)) {
    const value = kind === undefined ? numeric(GENERATION_OPTIONS[name as keyof Decoding]) : kind;
    const dashed = flag ?? name.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`);
    const option = new Option(`--${dashed}${value ? ` ${value.placeholder}` : ''}`, help);
    option.negate = false; // commander reads --no-repeat-ngram-size as a switch that turns something off
    if (value) option.argParser(parser(value));
    if (sampling) option.implies({ doSample: true });
    command.addOption(option.helpGroup('Decoding (default: as in the checkpoint; flags about sampling turn it on):'));
  }
  return command
    .option(
      '--constrain',
      'allow only tokens with which an answer has the form of its task; run: labels from --classes',
    )
    .option('--keep-unicode', 'keep non-ASCII characters in labels')
    .option('--keep-malformed', "keep malformed objects and labels, as Microsoft's processor does");
}

/** Returns those flags as options of `Florence2.run`. */
export function answerOptions({ beams, constrain, keepUnicode, keepMalformed, ...flags }: AnswerFlags): RunOptions {
  const decoding = Object.entries(flags).filter(([name]) => Object.hasOwn(DECODING, name));
  return { ...Object.fromEntries(decoding), numBeams: beams, constrain, keepUnicode, keepMalformed };
}
