import { mean } from './detection.ts';

/** An answer to a question about an image, and the answers that ten people gave. */
export interface VqaAnswer {
  prediction: string;
  answers: readonly string[];
}

const NUMBERS = ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten'];
const DIGITS: ReadonlyMap<string, string> = new Map([
  ['none', '0'],
  ...NUMBERS.map((name, i): [string, string] => [name, String(i)]),
]);
const ARTICLES: ReadonlySet<string> = new Set(['a', 'an', 'the']);
const MARKS = [...';/[]"{}()=+\\_-><@`,?!'];

/** Words of the evaluation code and what it makes of them. */
const CONTRACTIONS: ReadonlyMap<string, string> = new Map(
  (
    "aint:ain't arent:aren't cant:can't couldve:could've couldnt:couldn't couldn'tve:couldn't've " +
    "couldnt've:couldn't've didnt:didn't doesnt:doesn't dont:don't hadnt:hadn't hadnt've:hadn't've " +
    "hadn'tve:hadn't've hasnt:hasn't havent:haven't hed:he'd hed've:he'd've he'dve:he'd've hes:he's howd:how'd " +
    "howll:how'll hows:how's isnt:isn't itd:it'd itd've:it'd've it'dve:it'd've itll:it'll maam:ma'am " +
    "mightnt:mightn't mightnt've:mightn't've mightn'tve:mightn't've mightve:might've mustnt:mustn't " +
    "mustve:must've neednt:needn't notve:not've oclock:o'clock oughtnt:oughtn't ow's'at:'ow's'at 'ows'at:'ow's'at " +
    "'ow'sat:'ow's'at shant:shan't shed've:she'd've she'dve:she'd've shouldve:should've shouldnt:shouldn't " +
    "shouldnt've:shouldn't've shouldn'tve:shouldn't've somebody'd:somebodyd somebodyd've:somebody'd've " +
    "somebody'dve:somebody'd've somebodyll:somebody'll somebodys:somebody's someoned:someone'd " +
    "someoned've:someone'd've someone'dve:someone'd've someonell:someone'll someones:someone's " +
    "somethingd:something'd somethingd've:something'd've something'dve:something'd've somethingll:something'll " +
    "thats:that's thered:there'd thered've:there'd've there'dve:there'd've therere:there're theres:there's " +
    "theyd:they'd theyd've:they'd've they'dve:they'd've theyll:they'll theyre:they're theyve:they've twas:'twas " +
    "wasnt:wasn't wed've:we'd've we'dve:we'd've weve:we've werent:weren't whatll:what'll whatre:what're " +
    "whats:what's whatve:what've whens:when's whered:where'd wheres:where's whereve:where've whod:who'd " +
    "whod've:who'd've who'dve:who'd've wholl:who'll whos:who's whove:who've whyll:why'll whyre:why're whys:why's " +
    "wont:won't wouldve:would've wouldnt:wouldn't wouldnt've:wouldn't've wouldn'tve:wouldn't've yall:y'all " +
    "yall'll:y'all'll y'allll:y'all'll yall'd've:y'all'd've y'alld've:y'all'd've y'all'dve:y'all'd've youd:you'd " +
    "youd've:you'd've you'dve:you'd've youll:you'll youre:you're youve:you've"
  )
    .split(' ')
    .map(pair => pair.split(':') as [string, string]),
);

/**
 * Returns the VQAv2 accuracy of one answer, 0 to 1: the mean over the ten people of min(1, equal answers of the other
 * nine / 3). Antol et al. 2015; equal to `vqaEval.py`, which normalises the texts only if the people disagree.
 *
 * @param always normalises the texts also if all people agree, as lmms-eval does. Default false
 */
export function vqaAccuracy({ prediction, answers }: VqaAnswer, always = false): number {
  const raw = [prediction, ...answers].map(oneLine);
  const agree = !always && new Set(raw.slice(1)).size === 1;
  const [found, ...known] = agree ? raw : raw.map(normalizeMarks);
  return agreement(found, known);
}

/** Returns the TextVQA accuracy of one answer, 0 to 1: as VQAv2's, but texts are always normalised, by Pythia's rule. */
export const textVqaAccuracy = ({ prediction, answers }: VqaAnswer): number =>
  agreement(normalizeTextVqa(prediction), answers.map(normalizeTextVqa));

function agreement(found: string, known: readonly string[]): number {
  return mean(
    known.map((_, left) => Math.min(1, known.filter((other, i) => i !== left && other === found).length / 3)),
  );
}

/** Returns an answer as VQAv2 compares it: without punctuation and articles, numbers as digits, in lower case. */
export const normalizeVqa = (text: string): string => normalizeMarks(oneLine(text));

/** Returns an answer as TextVQA compares it. */
export const normalizeTextVqa = (text: string): string =>
  normalizeVqa(text.toLowerCase().replace(/[,?]/g, '').replaceAll("'s", " 's").trim());

const oneLine = (text: string): string => text.replace(/[\n\t]/g, ' ').trim();

/** A comma between digits anywhere in a text decides for all its marks. */
const COMMA_IN_NUMBER = /\p{Nd},\p{Nd}/u;
/** The evaluation code drops at most so many dots: a flag is given where the count belongs. */
const MOST_DOTS = 32;

function normalizeMarks(text: string): string {
  const comma = COMMA_IN_NUMBER.test(text);
  let plain = text;
  for (const mark of MARKS) {
    const dropped = comma || text.includes(`${mark} `) || text.includes(` ${mark}`);
    plain = plain.replaceAll(mark, dropped ? '' : ' ');
  }
  let dots = 0;
  plain = plain.replace(/\.(?!\p{Nd})/gu, dot => (dots++ < MOST_DOTS ? '' : dot));
  const words = plain.toLowerCase().split(/\s+/).filter(Boolean);
  return words
    .map(word => DIGITS.get(word) ?? word)
    .filter(word => !ARTICLES.has(word))
    .map(word => CONTRACTIONS.get(word) ?? word)
    .join(' ');
}
