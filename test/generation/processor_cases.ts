import { readFileSync } from 'node:fs';
import type { GenerationSettings } from '../../src/generation/options.ts';
import { plain } from './toy.ts';

interface Row {
  settings: Partial<GenerationSettings>;
}

/** Scores of the token after a sequence, as transformers' processors change them; null is minus infinity. */
interface ScoresCase extends Row {
  sequence: number[];
  logits: number[];
  scores: (number | null)[];
}

/** Answers of transformers' `generate` with a model whose logits are the sum of a row for each token and position. */
interface AnswersCase extends Row {
  tokens: number[][];
  positions: number[][];
  answers: number[][];
  scores?: number[];
}

/** The cases of tools/processor_cases.py. */
const lines = readFileSync(new URL('./processor_cases.jsonl', import.meta.url), 'utf8')
  .trim()
  .split('\n');
const all = lines.map((line): ScoresCase | AnswersCase => JSON.parse(line));
export const cases = {
  scores: all.filter((one): one is ScoresCase => 'logits' in one),
  answers: all.filter((one): one is AnswersCase => 'tokens' in one),
};

/** Returns the settings of a case: the script's defaults, then the case's. */
export const settingsOf = ({ settings }: Row): GenerationSettings => ({
  ...{ ...plain, topK: 0, earlyStopping: false },
  ...settings,
});
