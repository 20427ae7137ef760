import type { ExifOrientation } from '../geometry/orientation.ts';
import type { RunLengths } from '../geometry/rle.ts';
import type { BoxCoordinates, ImageSize, Polygon, QuadCoordinates } from '../geometry/types.ts';
import type { ImageInput } from '../image/types.ts';
import type { SourcedTarget } from './example.ts';

/** The formats that `openAnnotations` reads and `convertDataset` writes, by the names of the command line. */
export const DATASET_FORMATS = [
  ...(['coco', 'yolo', 'yolo-seg', 'yolo-obb', 'voc', 'jsonl', 'label-studio', 'cvat', 'labelme'] as const),
  ...(['fiftyone', 'hf', 'txt', 'webdataset'] as const),
];

/** The name of a dataset format. */
export type DatasetFormat = (typeof DATASET_FORMATS)[number];

/** An annotated or predicted object, in pixels of the image as stored in its file. */
export interface LabelledObject {
  label: string;
  /** Corners in order: x1 <= x2, y1 <= y2. */
  box: BoxCoordinates;
  /** The outlines of its parts, in formats that store polygons. */
  polygons?: Polygon[];
  /** The corners of a turned box, in the order of the file. */
  quad?: QuadCoordinates;
  /** Its pixels, in formats that store masks. */
  mask?: RunLengths;
  /** Whether it marks a crowd rather than a single object. */
  crowd?: boolean;
  /** The score of a prediction, 0 to 1. */
  score?: number;
  /** Its area in pixels, as COCO files store it. */
  area?: number;
}

/** An annotated line of text, in pixels of the stored image. */
export interface TextLine {
  text: string;
  quad: QuadCoordinates;
  /** The score of a prediction, 0 to 1. */
  score?: number;
}

/** All annotations of an image. Coordinates are pixels of the image as stored in its file, whatever the format. */
export interface AnnotatedImage {
  /** A path, a URL, or the bytes of a file in a shard. */
  image: ImageInput;
  /** Path relative to the folder of the images, with `/`: the image's name in other formats. */
  file: string;
  /** Size of the stored image; undefined if neither the annotations nor the image say it. */
  size?: ImageSize;
  /** The EXIF orientation, if the stored image is to be turned. */
  orientation?: ExifOrientation;
  objects: LabelledObject[];
  captions: string[];
  texts: TextLine[];
  /** Questions with answers, in formats that store these. */
  targets: SourcedTarget[];
  /** File and line, for error messages. */
  source: string;
}

/** The annotations of a dataset, image by image. */
export interface Annotations {
  /** For error messages. */
  readonly name: string;
  readonly format: DatasetFormat;
  /** Number of images, also of those without annotations. */
  readonly length: number;
  /** The class names that the format lists, in its order, also of classes without objects. */
  readonly labels?: readonly string[];
  /**
   * Returns an image, after reading its size and orientation from its file.
   *
   * @param index from 0
   */
  image(index: number): Promise<AnnotatedImage>;
}
