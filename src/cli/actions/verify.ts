import { extname, join } from 'node:path';
import { Florence2Error } from '../../errors.ts';
import { readTextFile } from '../../files/whole_file.ts';
import { decodeImage } from '../../image/decode.ts';
import type { RawImage } from '../../image/types.ts';
import { parseJsonObject } from '../../json.ts';
import { PUBLISHED } from '../../parity/published/answers.ts';
import { type KnownAnswer, type PublishedAnswers, parsePublished } from '../../parity/published/cases.ts';
import { casesOf, type VerifyRow, verify } from '../../parity/published/verify.ts';
import { loadModel, type ModelFlags } from '../load_model.ts';
import { print } from '../print/terminal.ts';

/** Compares the published answers and prints the result case by case. The exit code is 1 if an answer differs. */
export async function runVerify(source: string, flags: VerifyFlags): Promise<void> {
  const answers = await readAnswers(flags.cases);
  const cases = casesOf(answers, flags.as ?? source);
  const { revision, backend, images } = flags;
  const model = await loadModel({ model: source, revision, backend });
  const imageOf = (name: string): Promise<RawImage> => readImage(answers.images.get(name)!.url, name, images);
  let equal = 0;
  try {
    for await (const row of verify(model, answers, cases, imageOf)) {
      print(...(flags.json ? [JSON.stringify(row)] : rowLines(row)));
      if (row.equal) equal++;
    }
  } finally {
    model.dispose();
  }
  if (!flags.json) {
    const { name, description } = model.backend;
    print(`on ${name}: ${description}`, `${equal} of ${cases.length} published answers equal`);
  }
  if (equal < cases.length) process.exitCode = 1;
}

/** Reads an image from the folder of images if there is one, else from its URL. */
async function readImage(url: string, name: string, folder?: string): Promise<RawImage> {
  if (folder !== undefined) return decodeImage(join(folder, name + (extname(new URL(url).pathname) || '.jpg')));
  return decodeImage(url).catch(error => {
    if (!(error instanceof Florence2Error)) throw error;
    throw new Florence2Error(`${error.message} --images reads the images from a folder instead.`, {
      code: error.code,
      cause: error,
    });
  });
}

async function readAnswers(file?: string): Promise<PublishedAnswers> {
  if (file === undefined) return parsePublished(PUBLISHED, 'the published answers');
  const text = await readTextFile(file);
  return parsePublished(parseJsonObject(text, file), file);
}

function rowLines({ image, task, input, expected, got, equal, differences }: VerifyRow): string[] {
  return [
    `${equal ? '✓' : '✗'} ${task}${input ? ` ${input}` : ''} (${image})`,
    ...answerLines('expected', expected),
    ...answerLines('got     ', got),
    ...differences.map(difference => `    ${difference}`),
  ];
}

function answerLines(title: string, { text, labels, boxes }: KnownAnswer): string[] {
  const at = (box?: number[]) => (box ?? []).map(value => value.toFixed(2)).join(', ');
  const objects = labels?.map((label, i) => `${label} [${at(boxes?.[i])}]`) ?? [];
  return [`    ${title}  ${[...(text === undefined ? [] : [text]), ...objects].join('; ') || 'nothing'}`];
}

export interface VerifyFlags extends Pick<ModelFlags, 'revision' | 'backend'> {
  as?: string;
  images?: string;
  cases?: string;
  json?: boolean;
}
