import type { Target } from '../../src/datasets/example.ts';
import type { BoxCoordinates } from '../../src/geometry/types.ts';
import { SCENE_SIDE, type SceneLayout, type SceneObject, type Sign } from './layout.ts';
import { inBox, SHAPES } from './shapes.ts';
import { PHOTOGRAPHIC } from './vocabulary.ts';

/** An object or sign of a scene, in the words of its captions. */
export interface Thing {
  /** `red circle`, `sign` */
  name: string;
  /** `small red circle`, `sign that says "STOP"` */
  description: string;
  box: BoxCoordinates;
  polygon: number[];
}

/** Returns the objects from left to right, then the sign. */
export function thingsOf({ objects, sign }: SceneLayout): Thing[] {
  return [...objects.map(objectThing), ...(sign ? [signThing(sign)] : [])];
}

function objectThing({ color, shape, size, box }: SceneObject): Thing {
  const name = `${color} ${shape}`;
  return { name, description: `${size} ${name}`, box, polygon: inBox(SHAPES[shape].polygon, box) };
}

function signThing({ word, box }: Sign): Thing {
  const polygon = inBox(SHAPES.square.polygon, box);
  return { name: 'sign', description: `sign that says "${word}"`, box, polygon };
}

export const caption = (layout: SceneLayout): string => list(thingsOf(layout).map(({ name }) => withArticle(name)));

export function detailedCaption(layout: SceneLayout): string {
  const things = thingsOf(layout).map(({ description }) => `a ${description}`);
  const { kind, tone } = layout.background;
  return `${list(things)} on a ${kind === PHOTOGRAPHIC ? tone : kind} background`;
}

export function moreDetailedCaption(layout: SceneLayout): string {
  const { objects, sign, background } = layout;
  const things = [
    ...objects.map(object => `a ${objectThing(object).description} at the ${placeOf(object.box)}`),
    ...(sign ? [`a sign at the ${placeOf(sign.box)}`] : []),
  ];
  const word = sign ? ` The sign says "${sign.word}".` : '';
  const surface = background.kind === PHOTOGRAPHIC ? background.tone : `${background.tone} and ${background.kind}`;
  return `The image shows ${list(things)}.${word} The background is ${surface}.`;
}

export const withArticle = (name: string): string => `${/^[aeiou]/.test(name) ? 'an' : 'a'} ${name}`;

/** `a`, `a and b`, `a, b and c` */
export const list = (parts: string[]): string =>
  parts.length < 2 ? parts.join('') : `${parts.slice(0, -1).join(', ')} and ${parts.at(-1)}`;

/** Returns one of nine places for the centre of a box: `top left`, `top`, … `center`. */
export function placeOf([left, top, right, bottom]: BoxCoordinates): string {
  const third = (low: number, high: number) => Math.floor((3 * (low + high)) / 2 / SCENE_SIDE);
  const words = [['top', '', 'bottom'][third(top, bottom)], ['left', '', 'right'][third(left, right)]];
  return words.filter(word => word !== '').join(' ') || 'center';
}

export const quadOf = (box: BoxCoordinates): number[] => inBox(SHAPES.square.polygon, box);

/** Returns all targets of a scene. */
export function targetsOf(layout: SceneLayout): Target[] {
  const things = thingsOf(layout);
  const { sign } = layout;
  const boxes = things.map(({ name, box }) => ({ label: name, box }));
  return [
    { task: '<CAPTION>', answer: { text: caption(layout) } },
    { task: '<DETAILED_CAPTION>', answer: { text: detailedCaption(layout) } },
    { task: '<MORE_DETAILED_CAPTION>', answer: { text: moreDetailedCaption(layout) } },
    { task: '<OD>', answer: { boxes } },
    {
      task: '<DENSE_REGION_CAPTION>',
      answer: { boxes: things.map(({ description, box }) => ({ label: description, box })) },
    },
    { task: '<REGION_PROPOSAL>', answer: { boxes: things.map(({ box }) => ({ label: '', box })) } },
    {
      task: '<CAPTION_TO_PHRASE_GROUNDING>',
      text: caption(layout),
      answer: { phrases: things.map(({ name, box }) => ({ phrase: withArticle(name), boxes: [{ box }] })) },
    },
    ...things.flatMap(thingTargets),
    { task: '<OCR>', answer: { text: sign?.word ?? '' } },
    {
      task: '<OCR_WITH_REGION>',
      answer: { quads: sign ? [{ text: sign.word, quad: quadOf(sign.textBox) }] : [] },
    },
    ...(sign ? [{ task: '<REGION_TO_OCR>', box: sign.textBox, answer: { text: sign.word } }] : []),
  ];
}

/** Returns the targets about one thing, given by its name or its box. */
function thingTargets({ name, description, box, polygon }: Thing): Target[] {
  const mask = { instances: [{ label: '', polygons: [polygon] }] };
  return [
    { task: '<REFERRING_EXPRESSION_SEGMENTATION>', text: withArticle(name), answer: mask },
    { task: '<REGION_TO_SEGMENTATION>', box, answer: mask },
    { task: '<OPEN_VOCABULARY_DETECTION>', text: name, answer: { boxes: [{ label: name, box }] } },
    { task: '<REGION_TO_CATEGORY>', box, answer: { text: name } },
    { task: '<REGION_TO_DESCRIPTION>', box, answer: { text: `a ${description}` } },
  ];
}

/** Returns the texts of a target: its input (with a leading space, as in prompts) and the words of its answer. */
export function textsOf({ text, answer }: Target): string[] {
  const asked = text === undefined ? [] : [` ${text}`];
  if (typeof answer === 'string') return [...asked, answer];
  if ('text' in answer) return [...asked, answer.text];
  if ('boxes' in answer) return [...asked, ...answer.boxes.map(({ label }) => label)];
  if ('phrases' in answer) return [...asked, ...answer.phrases.map(({ phrase }) => phrase)];
  if ('quads' in answer) return [...asked, ...answer.quads.map(({ text }) => text)];
  return [...asked, ...answer.instances.map(({ label }) => label)];
}
