import * as kinds from '../kinds.ts';
import { type Kind, onOff } from '../kinds.ts';
import { BACKEND_HELP, backendChoices, IMAGE_SIZE_HELP, MODEL_HELP, REVISION_HELP } from '../options.ts';

/** One thing that can be set, by a flag or in a config file. */
export interface Setting {
  /** The key in a config file, within the object `group` where there is one. Its flag is the same with dashes. */
  name: string;
  group?: 'lora' | 'augment';
  kind: Kind;
  /** Absent where there is no flag but the negative one. */
  help?: string;
  /** There is a flag `--no-…`, and this is its help. */
  negative?: string;
  /** The flag where it is not the key with dashes; null where there is none. */
  flag?: string | null;
  short?: string;
  /** Another flag for the same setting, which the help does not show. */
  alias?: string;
  default?: unknown;
}

const lora = (name: string, kind: Kind, help: string, rest: Partial<Setting> = {}): Setting => {
  return { name, group: 'lora', kind, help, ...rest };
};
const augment = (name: string, help: string): Setting => ({ name, group: 'augment', kind: kinds.share, help });

/** All settings, under the headings of the help. */
// biome-ignore format: a line for each
export const SETTINGS: Record<string, Setting[]> = {
  'Data:': [
    { name: 'data', short: '-d', kind: kinds.texts('<path[:weight]>'), help: 'a dataset: a folder with {train,valid}/annotations.jsonl or _annotations.coco.json, one with a YOLO data.yaml, or such a file; may be repeated. The weight is the share of it that an epoch takes: 0.2 a fifth, 2 all twice' },
    { name: 'valid', kind: kinds.text('<path>'), help: 'the validation data; default: the valid splits of the data' },
    { name: 'task', short: '-t', kind: kinds.texts('<name>'), help: 'learn this task alone; may be repeated. Default: all that the data has' },
    { name: 'targetsPerImage', kind: kinds.count, help: 'most targets of an image in one step, others in other epochs' },
  ],
  'Model:': [
    { name: 'model', short: '-m', kind: kinds.text('<model>'), help: MODEL_HELP, default: 'microsoft/Florence-2-base' },
    { name: 'revision', kind: kinds.text('<name>'), help: REVISION_HELP },
    { name: 'backend', short: '-b', kind: kinds.oneOf(...backendChoices), help: BACKEND_HELP, default: 'auto' },
    { name: 'imageSize', kind: kinds.count, help: IMAGE_SIZE_HELP },
    { name: 'freeze', kind: kinds.anyTexts('<name>'), negative: 'train all, the vision tower too', help: 'train no parameter of this name, or in the module of this name, or that matches a /regular expression/; may be repeated. Default: the vision tower' },
    { name: 'newTokens', kind: kinds.texts('<word>'), flag: 'new-token', help: 'make this word a token of its own before the training; may be repeated' },
  ],
  'Adapter:': [
    lora('r', kinds.count, 'rank', { default: 8 }),
    lora('alpha', kinds.number, 'the adapter counts alpha / r times', { default: 8 }),
    lora('targets', kinds.names, 'layers: names or their ends (q_proj,v_proj), a /regular expression/ for whole names, or all-linear. Default: the projections of the language model'),
    lora('exclude', kinds.names, 'layers that are left out, named in the same way'),
    lora('dropout', kinds.share, 'share of inputs that the adapter does not see', { flag: 'lora-dropout', default: 0 }),
    lora('rsLora', onOff, 'count it alpha / √r times'),
    lora('init', kinds.oneOf('kaiming', 'gaussian'), 'how A begins', { default: 'kaiming' }),
    lora('bias', kinds.oneOf('none', 'lora_only', 'all'), 'biases that are trained as well', { default: 'none' }),
    lora('modulesToSave', kinds.list, 'modules that are trained whole and saved with the adapter'),
    lora('rankPattern', kinds.numbers, 'ranks by regular expression', { flag: null }),
    lora('alphaPattern', kinds.numbers, 'alphas by regular expression', { flag: null }),
  ],
  'Run:': [
    { name: 'output', flag: 'out', alias: 'output', short: '-o', kind: kinds.text('<dir>'), help: 'where all of the run goes: latest/, best/, metrics.jsonl, curves.svg, TensorBoard events' },
    { name: 'resume', kind: onOff, help: 'go on from latest/ of the output folder, with the settings of its run.json' },
    { name: 'epochs', kind: kinds.count, help: 'passes over the data', default: 1 },
    { name: 'maxSteps', kind: kinds.count, help: 'ends the run sooner' },
    { name: 'batchSize', kind: kinds.count, help: 'images that are run together', default: 1 },
    { name: 'accumulate', kind: kinds.count, help: 'batches that make one step', default: 1 },
    { name: 'seed', kind: kinds.whole, help: 'of everything that is random', default: 0 },
    { name: 'validateEvery', kind: kinds.count, help: 'steps between validations; default: each epoch' },
    { name: 'validateExamples', kind: kinds.count, help: 'most images of a validation; default: all' },
    { name: 'saveEvery', kind: kinds.count, help: 'steps between saves; default: each epoch' },
  ],
  'Optimizer:': [
    { name: 'learningRate', kind: kinds.number, help: 'the highest rate; default: 1e-4 for LoRA, else 1e-5' },
    { name: 'schedule', kind: kinds.oneOf('constant', 'linear', 'cosine'), help: 'of the rate after the warm-up', default: 'linear' },
    { name: 'warmupSteps', kind: kinds.whole, help: 'steps in which the rate rises', default: 0 },
    { name: 'weightDecay', kind: kinds.number, help: 'of AdamW, decoupled', default: 0.01 },
    { name: 'decay', kind: kinds.oneOf('all', 'matrices'), help: 'what decays: all, or all but biases and norms', default: 'matrices' },
    { name: 'betas', kind: kinds.pair, help: 'of AdamW', default: [0.9, 0.999] },
    { name: 'epsilon', kind: kinds.number, help: 'of AdamW', default: 1e-8 },
    { name: 'maxGradNorm', kind: kinds.number, help: "clips the gradients' norm", default: 1 },
    { name: 'labelSmoothing', kind: kinds.share, help: 'share that targets spread over the vocabulary', default: 0 },
    { name: 'locationWeight', kind: kinds.number, help: 'what a location token counts in the loss', default: 1 },
    { name: 'dropout', kind: onOff, negative: "without the dropout and drop path of the model's config" },
  ],
  'Memory:': [
    { name: 'gradientCheckpointing', kind: onOff, negative: 'keep them all', help: 'compute the insides of blocks twice; default: when the vision tower is trained' },
    { name: 'featureCache', kind: kinds.oneOf('memory', 'disk', 'off'), help: 'where image features are kept while the vision tower is frozen', default: 'memory' },
    { name: 'featureCacheBytes', kind: kinds.number, help: 'most bytes of them', default: 2 * 2 ** 30 },
  ],
  'Augmentation, off by default:': [
    augment('flip', 'how often images are mirrored'),
    augment('crop', 'the least part of width and height that a crop leaves'),
    augment('scale', 'the least size at which the image is shown on a canvas'),
    augment('brightness', 'changed by up to this part'),
    augment('contrast', 'changed by up to this part'),
    augment('saturation', 'changed by up to this part'),
    augment('minVisible', 'the least part of an object that a crop must leave for it to be kept'),
  ],
};

/** Every setting by where a config file has it: `epochs`, `lora.r`. */
export const settingsByPath: ReadonlyMap<string, Setting> = new Map(
  Object.values(SETTINGS)
    .flat()
    .map(setting => [setting.group ? `${setting.group}.${setting.name}` : setting.name, setting]),
);

/** The flag of a setting without its dashes, or null where it has none. */
export const flagOf = ({ flag, name }: Setting): string | null =>
  flag === undefined ? name.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`) : flag;

/** The same in camelCase, as commander stores its value. */
export const keyOf = (setting: Setting): string | undefined =>
  flagOf(setting)?.replace(/-./g, dash => dash[1].toUpperCase());
