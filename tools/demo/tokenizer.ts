import { TASKS } from '../../src/text/tasks.ts';
import { type TokenizerFiles, wordTokenizer } from '../tiny_tokenizer.ts';
import { layOut } from './layout.ts';
import { targetsOf, textsOf } from './targets.ts';

/** Words that no scene has, each a token, so that a fine-tune can give them a meaning. */
const spareWords = `heart cross moon ring arrow cloud drop leaf flower house tree car cat bird person
white black gray pink brown`;

/** Scenes enough to have every word of their texts many times. */
const scenesRead = 2000;

/** The tokenizer of the demo checkpoint: the words of prompts and scenes, one token each. */
export function demoTokenizer(): TokenizerFiles {
  const prompts = TASKS.flatMap(({ prompt }) => prompt.split('{input}'));
  const spare = spareWords.split(/\s+/).flatMap(word => [word, ` ${word}`]);
  const scenes = Array.from({ length: scenesRead }, (_, index) => targetsOf(layOut(0, index)).flatMap(textsOf));
  return wordTokenizer([...prompts, ...spare, ...scenes.flat()]);
}
