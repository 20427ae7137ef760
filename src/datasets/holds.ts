import { boundsOf } from '../geometry/clip.ts';
import { parseAnswer } from '../results/format.ts';
import type { AnnotatedImage, DatasetFormat, LabelledObject } from './annotation.ts';
import type { Target } from './example.ts';
import { CAPTION_TASKS, outlinesOf } from './objects.ts';
import type { Split } from './reading.ts';

/** Counts by what a format cannot hold. */
export type Losses = Record<string, number>;

/** What a format holds, and where its images are. */
interface Holds {
  objects: boolean;
  /** Whether masks, or outlines as polygons, are kept. */
  outlines: 'masks' | 'polygons' | 'none';
  quads: boolean;
  captions: number;
  texts: boolean;
  scores: boolean;
  crowds: boolean;
  /** Whether questions with answers are kept, such as those of JSON lines. */
  questions: boolean;
  /** Whether coordinates are those of the upright image. */
  upright: boolean;
  /** Whether the tools find images only inside the dataset. */
  inside: boolean;
  /** Whether names of images have no folders: tools such as supervision do not look into folders of images. */
  flat: boolean;
  images: (split: Split) => string;
}

const inSplit = (split: Split): string => split;
const imagesSplit = (split: Split): string => `images/${split}`;

const NOTHING: Holds = {
  ...{ objects: true, outlines: 'none', quads: false, captions: 0, texts: false, scores: false, crowds: false },
  ...{ questions: false, upright: true, inside: true, flat: false, images: imagesSplit },
};

/** What each format holds. */
export const HOLDS: Record<DatasetFormat, Holds> = {
  coco: {
    ...NOTHING,
    ...{ outlines: 'masks', captions: Infinity, scores: true, crowds: true, upright: false, inside: false },
  },
  yolo: { ...NOTHING, flat: true },
  'yolo-seg': { ...NOTHING, flat: true, outlines: 'polygons' },
  'yolo-obb': { ...NOTHING, flat: true, quads: true },
  voc: { ...NOTHING, flat: true, images: () => 'JPEGImages' },
  jsonl: {
    ...{ ...NOTHING, captions: Infinity, texts: true, questions: true, upright: false, inside: false },
    images: inSplit,
  },
  'label-studio': { ...NOTHING, outlines: 'polygons', captions: Infinity, texts: true, scores: true, inside: false },
  cvat: { ...NOTHING, outlines: 'masks', texts: true, inside: false },
  labelme: { ...NOTHING, outlines: 'polygons', quads: true, texts: true, inside: false, images: inSplit },
  fiftyone: { ...NOTHING, scores: true, flat: true, images: split => `${split}/data` },
  hf: { ...NOTHING, captions: 1, images: inSplit },
  txt: { ...NOTHING, objects: false, captions: 1, images: inSplit },
  webdataset: {
    ...{ ...NOTHING, outlines: 'masks', quads: true, captions: Infinity, texts: true, scores: true, crowds: true },
    ...{ questions: true, upright: false, inside: false },
  },
};

/** Returns an image with what a format holds, and counts the rest. Answers to questions become annotations if possible. */
export function suited(given: AnnotatedImage, format: DatasetFormat, lost: Losses): AnnotatedImage {
  const holds = HOLDS[format];
  const lose = (what: string, count = 1): void => {
    if (count > 0) lost[what] = (lost[what] ?? 0) + count;
  };
  const image = holds.questions ? given : answersAsAnnotations(given, lose);
  const kept = image.objects.filter(({ crowd }) => !crowd || holds.crowds);
  if (!holds.objects) lose('objects', image.objects.length);
  else lose('crowds', image.objects.length - kept.length);
  if (!holds.texts) lose('lines of text', image.texts.length);
  const most = holds.captions;
  if (image.captions.length > most) {
    lose(most === 0 ? 'captions' : `captions after the first ${most}`, image.captions.length - most);
  }
  return {
    ...image,
    objects: holds.objects ? kept.map(object => suitedObject(object, holds, lose)) : [],
    texts: holds.texts ? image.texts : [],
    captions: image.captions.slice(0, most),
  };
}

function suitedObject(object: LabelledObject, holds: Holds, lose: (what: string) => void): LabelledObject {
  const { label, box, polygons, quad, mask, crowd, score, area } = object;
  if (score !== undefined && !holds.scores) lose('scores');
  const known: LabelledObject = { label, box };
  if (crowd) known.crowd = crowd;
  if (score !== undefined && holds.scores) known.score = score;
  if (holds.outlines === 'masks') {
    if (polygons) known.polygons = polygons;
    if (quad) known.quad = quad;
    if (mask) known.mask = mask;
    if (area !== undefined) known.area = area;
    return known;
  }
  if (quad && holds.quads) return Object.assign(known, { quad });
  if (quad && holds.outlines === 'none') lose('corners of turned boxes');
  if (mask) lose(holds.outlines === 'none' ? 'outlines' : 'masks, written as outlines');
  else if (polygons && holds.outlines === 'none') lose('outlines');
  const outlines = holds.outlines === 'none' ? [] : outlinesOf(object);
  if (outlines.length > 0) known.polygons = outlines;
  return known;
}

/** Returns an image whose detections, captions and read texts are annotations instead of answers to questions. */
function answersAsAnnotations(image: AnnotatedImage, lose: (what: string) => void): AnnotatedImage {
  const { size, targets } = image;
  if (targets.length === 0 || !size) return image;
  const found = { ...image, objects: [...image.objects], captions: [...image.captions], texts: [...image.texts] };
  for (const target of targets) {
    const answer = typeof target.answer === 'string' ? parseAnswer(target.task, target.answer, size) : target.answer;
    if (target.task === '<OD>' && 'boxes' in answer) {
      found.objects.push(...answer.boxes.map(({ label, box }) => ({ label, box: boundsOf(box) })));
    } else if ((CAPTION_TASKS as readonly string[]).includes(target.task) && 'text' in answer) {
      found.captions.push(answer.text);
    } else if (target.task === '<OCR_WITH_REGION>' && 'quads' in answer) {
      found.texts.push(...answer.quads.map(({ text, quad }) => ({ text, quad: Array.from(quad) as never })));
    } else lose(`answers to ${nameOf(target)}`);
  }
  return { ...found, targets: [] };
}

const nameOf = ({ task }: Target): string => (/^<[^<>]*>/.exec(task) ? task : 'questions of your own');
