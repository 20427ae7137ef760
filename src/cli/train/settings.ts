import * as kinds from '../kinds.ts';
import { type Kind, onOff } from '../kinds.ts';
import {
  BACKEND_CHOICES,
  BACKEND_HELP,
  IMAGE_SIZE_HELP,
  MODEL_HELP,
  PROCESSOR_HELP,
  REVISION_HELP,
  SUBFOLDER_HELP,
} from '../options.ts';

/** A setting of a training run, given by a flag or in a config file. */
export interface Setting {
  /** Key in a config file (in the object `group`, if set). By default the flag is the same name with dashes. */
  name: string;
  group?: 'lora' | 'augment';
  kind: Kind;
  /** Help of the flag. Absent if only the `--no-…` flag exists. */
  help?: string;
  /** Help of the flag `--no-…`. Absent if that flag does not exist. */
  negative?: string;
  /** Name of the flag if it differs from the key with dashes; null if there is no flag. */
  flag?: string | null;
  short?: string;
  /** Another name of the flag, which the help does not show. */
  alias?: string;
  default?: unknown;
  /** The default as the help shows it. */
  defaultText?: string;
}

const lora = (name: string, kind: Kind, help: string, rest: Partial<Setting> = {}): Setting => {
  return { name, group: 'lora', kind, help, ...rest };
};
const augment = (name: string, help: string): Setting => ({ name, group: 'augment', kind: kinds.share, help });

/** All settings, by their headings in the help. */
// biome-ignore format: a line for each
export const SETTINGS: Record<string, Setting[]> = {
  'Data:': [
    { name: 'data', short: '-d', kind: kinds.texts('<path[:weight]>'), help: 'dataset: a folder or a file of annotations in any format that "florence2 convert" reads, such as JSON lines, COCO, YOLO, Pascal VOC; repeatable. The weight is the share of it that an epoch uses: 0.2 is a fifth, 2 is all of it twice' },
    { name: 'valid', kind: kinds.text('<path>'), help: 'validation data; default: the valid splits of the datasets' },
    { name: 'imageRoot', kind: kinds.text('<dir>'), help: 'folder of the images, if they are not within the datasets' },
    { name: 'holdout', kind: kinds.fraction, help: 'share of the training images that are held out for validation, by a hash of their bytes; not for datasets with a valid split' },
    { name: 'oversample', kind: kinds.fraction, help: 'repeat images of classes that a smaller share of the images has: √(this share / theirs) times' },
    { name: 'negatives', kind: kinds.share, help: 'share of the questions about a class (open-vocabulary-detection, referring-segmentation) beside which a class is asked for that the image does not have' },
    { name: 'task', short: '-t', kind: kinds.texts('<name>'), help: 'train only on this task; repeatable; default: all tasks in the data' },
    { name: 'targetsPerImage', kind: kinds.count, help: 'maximum number of targets per image, drawn at random in each epoch; default: all' },
  ],
  'Model:': [
    { name: 'model', short: '-m', kind: kinds.text('<model>'), help: MODEL_HELP, default: 'microsoft/Florence-2-base' },
    { name: 'revision', kind: kinds.text('<name>'), help: REVISION_HELP },
    { name: 'subfolder', kind: kinds.text('<path>'), help: SUBFOLDER_HELP },
    { name: 'processor', kind: kinds.text('<model>'), help: PROCESSOR_HELP },
    { name: 'backend', short: '-b', kind: kinds.oneOf(...BACKEND_CHOICES), help: BACKEND_HELP, default: 'auto' },
    { name: 'imageSize', kind: kinds.count, help: IMAGE_SIZE_HELP },
    { name: 'freeze', kind: kinds.anyTexts('<name>'), negative: 'train all parameters, including the vision tower', help: 'do not train this parameter or module, or the parameters that match a /regular expression/; repeatable; default: the vision tower' },
    { name: 'newTokens', kind: kinds.texts('<word>'), flag: 'new-token', help: 'add this word to the vocabulary as one token before training; repeatable' },
  ],
  'Adapter:': [
    { name: 'adapter', kind: kinds.text('<adapter>'), help: 'train this adapter further, with its rank and layers: a folder, or an id on the hub (owner/name)' },
    lora('r', kinds.count, 'rank', { default: 8 }),
    lora('alpha', kinds.number, 'scale: the adapter is multiplied by alpha / r', { default: 8 }),
    lora('targets', kinds.names, 'adapted layers: names or ends of names (q_proj,v_proj), a /regular expression/ for whole names, or all-linear; default: the projections of the language model'),
    lora('exclude', kinds.names, 'layers to leave out, in the same notation'),
    lora('dropout', kinds.share, "dropout rate of the adapter's inputs", { flag: 'lora-dropout', default: 0 }),
    lora('rsLora', onOff, 'multiply the adapter by alpha / √r instead'),
    lora('init', kinds.oneOf('kaiming', 'gaussian'), 'initialisation of A', { default: 'kaiming' }),
    lora('bias', kinds.oneOf('none', 'lora_only', 'all'), 'biases to train', { default: 'none' }),
    lora('modulesToSave', kinds.list, 'modules to train in full and save with the adapter'),
    lora('rankPattern', kinds.numbers, 'ranks by regular expression', { flag: null }),
    lora('alphaPattern', kinds.numbers, 'alphas by regular expression', { flag: null }),
  ],
  'Run:': [
    { name: 'output', flag: 'out', alias: 'output', short: '-o', kind: kinds.text('<dir>'), help: 'folder to write the run to: latest/, best/, metrics.jsonl, metrics.csv, curves.svg, TensorBoard events' },
    { name: 'resume', kind: onOff, help: 'continue from latest/ in the --out folder, with the settings in its run.json' },
    { name: 'skipBad', kind: onOff, help: 'leave out examples that cannot be read, and list them at the end; default: the first ends the run' },
    { name: 'force', kind: onOff, help: 'resume even if the data or the settings are not those of the run' },
    { name: 'epochs', kind: kinds.count, help: 'passes over the data', default: 1 },
    { name: 'maxSteps', kind: kinds.count, help: 'stop after this many steps' },
    { name: 'batchSize', kind: kinds.count, help: 'images per batch', default: 1 },
    { name: 'accumulate', kind: kinds.count, help: 'batches per optimizer step', default: 1 },
    { name: 'seed', kind: kinds.whole, help: 'random seed', default: 0 },
    { name: 'validateEvery', kind: kinds.count, help: 'steps between validations; default: one epoch' },
    { name: 'validateExamples', kind: kinds.count, help: 'maximum number of images per validation, a random sample of all validation data; default: all' },
    { name: 'bestBy', kind: kinds.text('<name>'), help: 'what best/ is the best by: loss, a metric of a task (od/mAP, caption/editSimilarity), or a metric as the mean over the tasks (mAP)', default: 'loss' },
    { name: 'patience', kind: kinds.count, help: 'end the run after this many validations without a better one; default: never' },
    { name: 'pictures', kind: onOff, negative: 'do not draw the first steps and the answers of validations into pictures/' },
    { name: 'saveEvery', kind: kinds.count, help: 'steps between saves; default: one epoch' },
    { name: 'keepLast', kind: kinds.count, help: 'number of saves that are kept: latest/, and those before it as step-000120/', default: 1 },
  ],
  'Optimizer:': [
    { name: 'learningRate', kind: kinds.number, help: 'peak learning rate; default: 1e-4 with LoRA, else 1e-5' },
    { name: 'schedule', kind: kinds.oneOf('constant', 'linear', 'cosine'), help: 'learning-rate schedule after the warm-up', default: 'linear' },
    { name: 'warmupSteps', kind: kinds.whole, help: 'steps in which the learning rate rises from 0', default: 0 },
    { name: 'warmupRatio', kind: kinds.share, help: 'the same as a share of all steps' },
    { name: 'weightDecay', kind: kinds.number, help: 'decoupled weight decay of AdamW', default: 0.01 },
    { name: 'decay', kind: kinds.oneOf('all', 'matrices'), help: 'parameters that decay: all, or all except biases and norms', default: 'matrices' },
    { name: 'betas', kind: kinds.pair, help: 'betas of AdamW', default: [0.9, 0.999] },
    { name: 'epsilon', kind: kinds.number, help: 'epsilon of AdamW', default: 1e-8 },
    { name: 'maxGradNorm', kind: kinds.number, help: 'clip the norm of all gradients to this', default: 1 },
    { name: 'labelSmoothing', kind: kinds.share, help: 'share of the probability that targets spread over the vocabulary', default: 0 },
    { name: 'locationWeight', kind: kinds.number, help: 'loss weight of location tokens; other tokens have weight 1', default: 1 },
    { name: 'dropout', kind: onOff, negative: "turn off the dropout and drop path of the model's config" },
  ],
  'Memory:': [
    { name: 'gradientCheckpointing', kind: onOff, negative: 'keep all activations', help: 'recompute the activations of blocks in the backward pass, to save memory; default: only if the vision tower is trained' },
    { name: 'featureCache', kind: kinds.oneOf('memory', 'disk', 'off'), help: 'where to keep image features while the vision tower is frozen', default: 'memory' },
    { name: 'featureCacheBytes', kind: kinds.bytes, help: 'maximum size of these features, such as 500MB', default: 2 * 2 ** 30, defaultText: '2GiB' },
  ],
  'Augmentation, off by default:': [
    augment('flip', 'probability of mirroring an image, 0 to 1'),
    augment('crop', 'minimum share of width and height that a random crop keeps; 1: no crop'),
    augment('scale', 'minimum scale at which the image is placed on a canvas; 1: never smaller'),
    augment('brightness', 'maximum relative change of brightness: 0.2 is ±20 %'),
    augment('contrast', 'maximum relative change of contrast'),
    augment('saturation', 'maximum relative change of saturation'),
    augment('minVisible', 'minimum visible share of an object after a crop; objects below it are dropped; default: 0.5'),
  ],
};

/** Every setting by its path in a config file: `epochs`, `lora.r`. */
export const SETTINGS_BY_PATH: ReadonlyMap<string, Setting> = new Map(
  Object.values(SETTINGS)
    .flat()
    .map(setting => [setting.group ? `${setting.group}.${setting.name}` : setting.name, setting]),
);

/** Returns the flag of a setting without leading dashes, or null if it has none. */
export const flagOf = ({ flag, name }: Setting): string | null =>
  flag === undefined ? name.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`) : flag;

/** Returns the flag in camelCase, the name under which commander stores its value. */
export const keyOf = (setting: Setting): string | undefined =>
  flagOf(setting)?.replace(/-./g, dash => dash[1].toUpperCase());
