import { join } from 'node:path';
import type { Target } from '../datasets/example.ts';
import { drawSheet, type Tile } from '../drawing/sharp_sheet.ts';
import { Florence2Error } from '../errors.ts';
import { writeWhole } from '../files/write.ts';
import type { BoxCoordinates, ImageSize } from '../geometry/types.ts';
import type { ImageInput, RawImage } from '../image/types.ts';
import { formatAnswer } from '../results/format.ts';
import { parse } from '../results/parse/parse.ts';
import type { TaskResult } from '../results/types.ts';
import { taskInfo } from '../text/tasks.ts';
import type { StepImage } from './step_images.ts';

/** Steps whose images are drawn. */
const DRAWN_STEPS = 3;
/** Most drawings of a sheet. */
const MOST_TILES = 16;
const COLUMNS = 4;

/** An answer of a validation. */
export interface ShownAnswer {
  /** Returns the image, which is decoded again for the drawing. */
  image: () => Promise<ImageInput>;
  target: Target;
  imageSize: ImageSize;
  found: TaskResult;
}

/**
 * Pictures of what a run learns and answers, in `pictures/` of its folder: the images of its first steps with the answers
 * as they are learnt (after augmentation, coordinates as location tokens), and for each validation the same images, the
 * truth at the left of the model's answer.
 */
export class RunPictures {
  private answers: ShownAnswer[] = [];
  private readonly folder: string;

  /**
   * @param output folder of the run
   * @param onWarning receives the errors of pictures that cannot be drawn or written: a run goes on without them
   */
  constructor(
    output: string,
    private readonly onWarning: (message: string) => void,
  ) {
    this.folder = join(output, 'pictures');
  }

  /** Draws the images of one of the first steps. Images whose feature maps were cached before have no pixels. */
  async step(step: number, images: readonly StepImage[]): Promise<void> {
    if (step > DRAWN_STEPS) return;
    const tiles = images.flatMap(({ pixels, targets, imageSize }) =>
      pixels ? targets.map(target => learnt(pixels, target, imageSize)) : [],
    );
    await this.write(`step-${step}.png`, async () => tiles.slice(0, MOST_TILES));
  }

  /** Notes an answer of a validation, up to half a sheet. */
  answer(answered: ShownAnswer): void {
    if (this.answers.length < MOST_TILES / 2) this.answers.push(answered);
  }

  /** Draws the answers since the last validation. */
  async validation(step: number): Promise<void> {
    const { answers } = this;
    this.answers = [];
    await this.write(`validation-${String(step).padStart(6, '0')}.png`, async () =>
      (await Promise.all(answers.map(truthAndAnswer))).flat(),
    );
  }

  private async write(name: string, draw: () => Promise<Tile[]>): Promise<void> {
    try {
      const tiles = await draw();
      if (tiles.length === 0) return;
      await writeWhole(join(this.folder, name), await drawSheet(tiles, COLUMNS));
    } catch (error) {
      if (!(error instanceof Florence2Error)) throw error;
      this.onWarning(`pictures/${name} is missing: ${error.message}`);
    }
  }
}

/** Returns the truth and the answer of a validation, side by side. */
async function truthAndAnswer({ image, target, imageSize, found }: ShownAnswer): Promise<Tile[]> {
  const { decodeImage } = await import('../image/decode.ts');
  const truth = learnt(await decodeImage(await image()), target, imageSize);
  return [truth, { ...truth, title: 'answer', results: [...regionOf(target, imageSize), found] }];
}

/** Returns a target as the model learns it, through its text. */
function learnt(image: RawImage, target: Target, imageSize: ImageSize): Tile {
  const { task, text, answer } = target;
  const result = parse(formatAnswer(task, answer, imageSize), task, imageSize, { keepUnicode: true });
  const info = taskInfo(task);
  const title = [info?.name ?? task, info?.input === 'text' && text].filter(Boolean).join(': ');
  return { title, image, results: [...regionOf(target, imageSize), result] };
}

/** Returns the region of a question, given as a box or as location tokens, as a result to draw. */
function regionOf({ task, text, box }: Target, imageSize: ImageSize): TaskResult[] {
  if (taskInfo(task)?.input !== 'region') return [];
  if (!box) return [parse(text ?? '', '<REGION_PROPOSAL>', imageSize)];
  const boxes = [{ label: '', box: Array.from(box) as BoxCoordinates }];
  return [{ task: '<REGION_PROPOSAL>', boxes, imageSize, answer: '', truncated: false }];
}
