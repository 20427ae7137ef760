import type { TypedAnswer } from '../../results/format.ts';
import { BANNED_PHRASES } from '../../results/parse/banned_phrases.ts';
import { asciiOnly } from '../../results/parse/grammar.ts';
import { parse } from '../../results/parse/parse.ts';
import type { TaskResult } from '../../results/types.ts';
import type { ImageSize } from '../../text/locations.ts';
import { strip } from '../../text/python_strings.ts';

/**
 * A true answer in the terms of results, so that the two can be compared: text is parsed, and labels go through what the
 * parser does to those of results, or some true ones could never be met. Coordinates stay as they were given.
 */
export function readTruth(
  answer: TypedAnswer | string,
  task: TaskResult['task'],
  imageSize: ImageSize,
  keepUnicode: boolean,
): TypedAnswer {
  const given = typeof answer === 'string' ? parse(answer, task, imageSize, { keepUnicode }) : answer;
  const clean = (label: string): string => asciiOnly(strip(label), keepUnicode);
  const boxes = 'boxes' in given ? given.boxes : undefined;
  const instances = 'instances' in given ? given.instances : undefined;
  // A result of open vocabulary has both, and answers in the one that is not empty.
  if (boxes && !instances?.length) return { boxes: boxes.map(row => ({ ...row, label: clean(row.label) })) };
  if (instances) return { instances: instances.map(row => ({ ...row, label: clean(row.label) })) };
  if ('phrases' in given) {
    const named = given.phrases.filter(({ phrase }) => !BANNED_PHRASES.has(strip(phrase)));
    return { phrases: named.map(row => ({ ...row, phrase: clean(row.phrase) })) };
  }
  return given;
}
