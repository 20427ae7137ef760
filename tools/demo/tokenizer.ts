import { TASKS } from '../../src/text/tasks.ts';
import { type TokenizerFiles, wordTokenizer } from '../tiny_tokenizer.ts';
import { layOut } from './layout.ts';
import { targetsOf, textsOf } from './targets.ts';

/** Words of no scene that are tokens too, so that fine-tuning can teach their meaning. */
const spareWords = `heart cross moon ring arrow cloud drop leaf flower house tree car cat bird person
white black gray pink brown`;

/** Number of scenes whose texts are read; enough for every word to occur many times. */
const scenesRead = 2000;

/** Returns the tokenizer of the demo checkpoint, with one token for each word of prompts and scenes. */
export function demoTokenizer(): TokenizerFiles {
  const prompts = TASKS.flatMap(({ prompt }) => prompt.split('{input}'));
  const spare = spareWords.split(/\s+/).flatMap(word => [word, ` ${word}`]);
  const scenes = Array.from({ length: scenesRead }, (_, index) => targetsOf(layOut(0, index)).flatMap(textsOf));
  return wordTokenizer([...prompts, ...spare, ...scenes.flat()]);
}
