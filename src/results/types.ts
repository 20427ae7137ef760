import type { BoxCoordinates, ImageSize, Polygon, QuadCoordinates } from '../geometry/types.ts';
import type { RowOf, Task, TaskName, TaskOf } from '../text/tasks.ts';

/** What the model's probabilities say about an object, 0 to 1. Absent if the answer was parsed from text alone. */
interface Scored {
  /**
   * The reference's score: the geometric mean of the probabilities of the location tokens. It is low for right boxes
   * too, because the probability of a coordinate is spread over neighbouring bins. transformers' `avg_loc_scores`.
   */
  score?: number;
  /**
   * The probability of the label (all its tokens) times the geometric mean over the coordinates of the probability
   * within 20 bins, 2 % of the image's side. If the checkpoint has a calibration: the expected share of right answers.
   */
  confidence?: number;
  /** The confidence before calibration; absent without a calibration. */
  rawConfidence?: number;
}

/** What the model's probabilities say about the words of an object. Absent if there are none. */
interface Worded {
  /** The geometric mean of the probabilities of the words' tokens, 0 to 1. transformers' `avg_cat_name_scores`. */
  labelScore?: number;
}

/** An object of a detection result. */
export interface Box extends Scored, Worded {
  /** Class or caption; empty for region proposals. */
  label: string;
  /** Corners in pixels of the original image. */
  box: BoxCoordinates;
}

/** The outline of one object. */
export interface PolygonInstance extends Scored, Worded {
  /** Class; empty for the segmentation tasks, whose object is named by the prompt. */
  label: string;
  /** In pixels of the original image. Several polygons if parts of the object are separate. */
  polygons: Polygon[];
  /** Only if the answer was parsed with `boxAtStart`. */
  box?: BoxCoordinates;
}

/** A line of text. */
export interface Quad extends Scored, Worded {
  text: string;
  /** Corners in pixels of the original image. */
  quad: QuadCoordinates;
}

/** Words of a caption with the boxes of all objects that they name, in pixels of the original image. */
export interface Phrase extends Worded {
  phrase: string;
  boxes: ({ box: BoxCoordinates } & Scored)[];
}

/** The fields of all results. Results are plain data, which `JSON.stringify` and `structuredClone` keep complete. */
interface Result<T extends string> {
  task: T;
  /** Size of the original image; all coordinates are in its pixels. */
  imageSize: ImageSize;
  /** The model's answer as text with location tokens. Only `<s>`, `</s>` and `<pad>` are removed. */
  answer: string;
  /**
   * Number of malformed objects that the result lacks: without a label, with corners in the wrong order, or without an
   * area. Absent if it is 0. `keepMalformed` keeps these objects.
   */
  dropped?: number;
  /** Whether the token limit truncated the answer. If so, the last object may be missing or incomplete. */
  truncated: boolean;
}

/** Result of captions, OCR without regions, and the region tasks that answer in words. */
export interface TextResult extends Result<TaskOf<'text'>> {
  /** Without white space at the ends. */
  text: string;
  /** The probability of the whole text, 0 to 1, or its calibrated value. Absent if it was parsed from text alone. */
  confidence?: number;
  /** The confidence before calibration; absent without a calibration. */
  rawConfidence?: number;
}

/** Result of a custom prompt, which has no task token. */
export interface PromptResult extends Result<'prompt'> {
  prompt: string;
  /** The answer without white space at the ends. */
  text: string;
  /** As in `TextResult`. */
  confidence?: number;
  rawConfidence?: number;
}

/** Result of object detection, dense region captions and region proposals. */
export interface BoxesResult extends Result<TaskOf<'boxes' | 'proposals'>> {
  boxes: Box[];
}

/** Result of phrase grounding: the phrases of a caption with their boxes. */
export interface PhrasesResult extends Result<TaskOf<'phrases'>> {
  phrases: Phrase[];
}

/** Result of the segmentation tasks, whose prompt names an object by words or by a region. */
export interface PolygonsResult extends Result<TaskOf<'polygons'>> {
  instances: PolygonInstance[];
}

/** Result of open-vocabulary detection. The model answers with boxes or with polygons; the other list is empty. */
export interface OpenVocabularyResult extends Result<TaskOf<'boxes or polygons'>> {
  boxes: Box[];
  instances: PolygonInstance[];
}

/** Result of OCR with regions: lines of text with their corners. */
export interface QuadsResult extends Result<TaskOf<'quads'>> {
  quads: Quad[];
}

/** The result of any task. `task` discriminates the union: `result.boxes` exists exactly for tasks with boxes. */
export type TaskResult =
  | TextResult
  | PromptResult
  | BoxesResult
  | PhrasesResult
  | PolygonsResult
  | OpenVocabularyResult
  | QuadsResult;

/** The result type of a task, by token or name: `ResultOf<'<OD>'>` is `BoxesResult`. Of other texts `TaskResult`. */
export type ResultOf<T extends string> = T extends Task | TaskName
  ? Covering<TaskResult, RowOf<T>['task']>
  : TaskResult;

type Covering<R extends TaskResult, T> = R extends TaskResult ? (T extends R['task'] ? R : never) : never;
