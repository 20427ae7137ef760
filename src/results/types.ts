import type { BoxCoordinates, ImageSize, Polygon, QuadCoordinates } from '../geometry/types.ts';
import type { Task, TaskOf } from '../text/tasks.ts';

/**
 * How sure the model was, 0 to 1: exp of the mean log-probability of the tokens that say it. For boxes, polygons and
 * quads these are the location tokens, for a phrase the tokens of its words. Absent where an answer was parsed from
 * its text alone.
 */
type Scored = { score?: number };

export interface Box extends Scored {
  /** Empty for region proposals. */
  label: string;
  box: BoxCoordinates;
}

/** One object, which may be of several polygons (parts seen on both sides of something, say). */
export interface PolygonInstance extends Scored {
  /** Empty for the segmentation tasks: their object is the one that was asked for. */
  label: string;
  polygons: Polygon[];
  /** Only where the answer was parsed with `boxAtStart`. */
  box?: BoxCoordinates;
}

export interface Quad extends Scored {
  text: string;
  quad: QuadCoordinates;
}

/** Words of the caption and every place where they were found. */
export interface Phrase extends Scored {
  phrase: string;
  boxes: ({ box: BoxCoordinates } & Scored)[];
}

/** What all results have. Results are plain data: `JSON.stringify` and `structuredClone` keep them whole. */
interface Result<T extends string> {
  task: T;
  /** The size of the original image, whose pixels all coordinates count. */
  imageSize: ImageSize;
  /** The model's answer as text, location tokens included; only `<s>`, `</s>` and `<pad>` are removed. */
  answer: string;
  /** True when the token limit cut the answer: the last object may be missing or incomplete. */
  truncated: boolean;
}

/** Captions, plain OCR, and the region tasks that answer in words. */
export interface TextResult extends Result<TaskOf<'text'>> {
  text: string;
}

/** The answer to a prompt that names no task of the table: the model's own words. */
export interface PromptResult extends Result<'prompt'> {
  prompt: string;
  text: string;
}

/** Object detection, dense region captions, and region proposals (whose labels are empty). */
export interface BoxesResult extends Result<TaskOf<'boxes' | 'proposals'>> {
  boxes: Box[];
}

/** A caption's phrases, each with its boxes. */
export interface PhrasesResult extends Result<TaskOf<'phrases'>> {
  phrases: Phrase[];
}

/** Segmentation of what was referred to by words or by a region. */
export interface PolygonsResult extends Result<TaskOf<'polygons'>> {
  instances: PolygonInstance[];
}

/** Open-vocabulary detection: the model answers in boxes or in polygons, and the other list is empty. */
export interface OpenVocabularyResult extends Result<TaskOf<'boxes or polygons'>> {
  boxes: Box[];
  instances: PolygonInstance[];
}

/** Lines of text, each in a quadrilateral. */
export interface QuadsResult extends Result<TaskOf<'quads'>> {
  quads: Quad[];
}

/** Discriminated by `task`: `result.boxes` exists exactly for the tasks that answer in boxes. */
export type TaskResult =
  | TextResult
  | PromptResult
  | BoxesResult
  | PhrasesResult
  | PolygonsResult
  | OpenVocabularyResult
  | QuadsResult;

/** The result of one task, for callers who name it: `ResultOf<'<OD>'>` is a BoxesResult. */
export type ResultOf<T extends Task> = Covering<TaskResult, T>;

type Covering<R extends TaskResult, T> = R extends TaskResult ? (T extends R['task'] ? R : never) : never;
