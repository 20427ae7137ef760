import type { Target } from '../../src/datasets/example.ts';
import { Draws } from './draws.ts';
import type { SceneLayout, SceneObject } from './layout.ts';
import { list, placeOf, type Thing, targetsOf, thingsOf, withArticle } from './targets.ts';
import { COLORS, type ColorName, TRAINED_SHAPES } from './vocabulary.ts';

/**
 * Returns all targets of a scene of the suite `wide`. They differ from the plain ones where a scene has two objects of
 * the same colour and shape, or where a question is about an object that is not there:
 *
 * - Phrase grounding and open vocabulary give all boxes of a name.
 * - Referring segmentation refers to one object by colour, size or place, as the scene requires: `the small star at the
 *   left`.
 * - One question of each of these three tasks is about something absent. Its answer is empty.
 */
export function wideTargets(layout: SceneLayout, unit: () => number): Target[] {
  const random = new Draws(unit);
  const things = thingsOf(layout);
  const others = targetsOf(layout).filter(({ task }) => !finding.has(task));
  const names = [...new Set(things.map(({ name }) => name))];
  const absent = absentName(names, random);
  const openVocabulary = [...names, absent].map((name): Target => {
    const boxes = boxesOf(name, things).map(box => ({ label: name, box }));
    return { task: '<OPEN_VOCABULARY_DETECTION>', text: name, answer: { boxes } };
  });
  return [
    ...others,
    grounding(things, random.unit() < 0.3 ? [...names, absent] : names),
    ...openVocabulary,
    ...referring(layout, things, random),
  ];
}

/** The tasks whose questions are about things by name. */
const finding: ReadonlySet<string> = new Set([
  '<CAPTION_TO_PHRASE_GROUNDING>',
  '<OPEN_VOCABULARY_DETECTION>',
  '<REFERRING_EXPRESSION_SEGMENTATION>',
]);

const boxesOf = (name: string, things: Thing[]): Thing['box'][] =>
  things.filter(thing => thing.name === name).map(({ box }) => box);

function absentName(names: string[], random: Draws): string {
  for (;;) {
    const name = `${random.of(Object.keys(COLORS) as ColorName[])} ${random.of(TRAINED_SHAPES)}`;
    if (!names.includes(name)) return name;
  }
}

/** Returns the grounding of a caption that lists these names. Absent ones are in the caption, but not in the answer. */
function grounding(things: Thing[], names: string[]): Target {
  const phrases = names.map(name => {
    const boxes = boxesOf(name, things).map(box => ({ box }));
    return { phrase: withArticle(name), boxes };
  });
  return {
    task: '<CAPTION_TO_PHRASE_GROUNDING>',
    text: list(names.map(withArticle)),
    answer: { phrases: phrases.filter(({ boxes }) => boxes.length > 0) },
  };
}

/** What an expression says of an object. */
interface Expression {
  color?: ColorName;
  size?: SceneObject['size'];
  shape: SceneObject['shape'];
  place?: string;
}

/** Returns one target for each thing that an expression distinguishes, and one for something absent. */
function referring({ objects, sign }: SceneLayout, things: Thing[], random: Draws): Target[] {
  const ask = (text: string, polygons: number[][]): Target => ({
    task: '<REFERRING_EXPRESSION_SEGMENTATION>',
    text,
    answer: { instances: polygons.length > 0 ? [{ label: '', polygons }] : [] },
  });
  const found = objects.flatMap((object, i) => {
    const distinct = expressionsOf(object).filter(said => objects.filter(other => fits(other, said)).length === 1);
    return distinct.length > 0 ? [ask(inWords(random.of(distinct)), [things[i].polygon])] : [];
  });
  const signs = sign ? [ask('the sign', [things.at(-1)!.polygon])] : [];
  return [...found, ...signs, ask(inWords(absentExpression(objects, random)), [])];
}

/** Returns all ways to refer to an object by its shape and its colour, size or place. */
function expressionsOf({ color, size, shape, box }: SceneObject): Expression[] {
  return [undefined, color].flatMap(color =>
    [undefined, size].flatMap(size => [undefined, placeOf(box)].map(place => ({ color, size, shape, place }))),
  );
}

/** An object at the top left is also at the top and at the left. */
function fits(object: SceneObject, { color, size, shape, place }: Expression): boolean {
  const places = placeOf(object.box).split(' ');
  return (
    object.shape === shape &&
    (color === undefined || object.color === color) &&
    (size === undefined || object.size === size) &&
    (place === undefined || place.split(' ').every(word => places.includes(word)))
  );
}

const inWords = ({ color, size, shape, place }: Expression): string =>
  ['the', size, color, shape, place && `at the ${place}`].filter(Boolean).join(' ');

/** Returns an expression that fits no object. Half of them describe an object that is there, but for one word. */
function absentExpression(objects: SceneObject[], random: Draws): Expression {
  for (;;) {
    const near = random.unit() < 0.5 && objects.length > 0;
    const said = near ? random.of(expressionsOf(random.of(objects))) : ({} as Expression);
    const color = random.of(Object.keys(COLORS) as ColorName[]);
    const shape = random.of(TRAINED_SHAPES);
    const changed = near ? random.of([{ color }, { shape }, { size: random.of(sizes) }]) : { color, shape };
    const expression = { ...said, ...changed };
    if (!objects.some(object => fits(object, expression))) return expression;
  }
}

const sizes = ['small', 'large'] as const;
