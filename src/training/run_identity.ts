import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import type { Dataset, TrainingExample } from '../datasets/example.ts';
import { UsageError } from '../errors.ts';
import { isRecord } from '../json.ts';
import type { TrainerSettings } from './options.ts';

/** What a run trains. It is saved with the run's state and compared when the run is resumed. */
export interface RunIdentity {
  /** The options that change the result, as JSON. */
  options: Record<string, unknown>;
  /** Each dataset: its weight, the number of examples, and a hash. Paths are left out, because folders may move. */
  data: Record<string, string>;
}

/** Options that may change between the parts of a run: where it is written, how long it is, how it is observed. */
const FREE: ReadonlySet<string> = new Set<keyof TrainerSettings>([
  ...([
    'output',
    'train',
    'valid',
    'epochs',
    'maxSteps',
    'resume',
    'force',
    'onStep',
    'onValidation',
    'onWarning',
    'skipBad',
  ] as const),
  ...([
    'validateEvery',
    'validateExamples',
    'saveEvery',
    'keepLast',
    'pictures',
    'bestBy',
    'patience',
    'onValidationProgress',
  ] as const),
  ...(['featureCache', 'featureCacheBytes', 'gradientCheckpointing'] as const),
]);

/** Returns the identity of a run with these settings. */
export async function runIdentity(settings: TrainerSettings): Promise<RunIdentity> {
  const options: RunIdentity['options'] = {};
  for (const [name, value] of Object.entries(settings)) {
    if (!FREE.has(name) && value !== undefined) options[name] = JSON.parse(JSON.stringify(value, patternsAsText));
  }
  const { train } = settings;
  const parts = Array.isArray(train) ? train : [{ dataset: train, weight: 1 }];
  const data: RunIdentity['data'] = {};
  for (const [i, { dataset, weight }] of parts.entries()) {
    data[`dataset ${i + 1}`] = `${weight === 1 ? '' : `${weight} × `}${await fingerprint(dataset)}`;
  }
  return { options, data };
}

/**
 * Checks that a run is resumed with the data and options that it was started with.
 *
 * @throws UsageError that lists what changed
 */
export function checkIdentity(before: RunIdentity, now: RunIdentity, output: string): void {
  const changes = [...changed(before.options, now.options), ...changed(before.data, now.data)];
  if (changes.length === 0) return;
  throw new UsageError(
    `The run in ${output} was started with other settings: ${changes.join('; ')}. Resume it with those, start a new run in another folder, or set force to continue with the new ones.`,
  );
}

function changed(before: Record<string, unknown>, now: Record<string, unknown>, path = ''): string[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(now)])];
  return names.flatMap(name => {
    const [old, value] = [before[name], now[name]];
    if (JSON.stringify(old) === JSON.stringify(value)) return [];
    if (isRecord(old) && isRecord(value)) return changed(old, value, `${path}${name}.`);
    return [`${path}${name} was ${shown(old)} and is ${shown(value)}`];
  });
}

const shown = (value: unknown): string => (value === undefined ? 'not set' : JSON.stringify(value));

const patternsAsText = (_: string, value: unknown): unknown => (value instanceof RegExp ? String(value) : value);

/** Examples that are read for a fingerprint. More would take seconds for data that a program computes. */
const sampled = 200;

/** Returns the number of examples and a hash of up to 200 of them, evenly spaced. */
async function fingerprint(dataset: Dataset): Promise<string> {
  const hash = createHash('sha256');
  const count = Math.min(sampled, dataset.length);
  for (let i = 0; i < count; i++) {
    const { image, targets } = await dataset.example(Math.floor((i * dataset.length) / count));
    hash.update(imageName(image)).update(JSON.stringify(targets.map(({ source, ...target }) => target)));
  }
  return `${dataset.length} examples, ${hash.digest('hex').slice(0, 12)}`;
}

/** Returns the file name of an image, because folders may move; the pixels or bytes of one without a name. */
function imageName(image: TrainingExample['image']): string | Uint8Array {
  if (typeof image === 'string') return basename(image);
  if (image instanceof URL) return basename(image.pathname);
  if (image instanceof Uint8Array) return image;
  return 'data' in image ? new Uint8Array(image.data.buffer, image.data.byteOffset, image.data.byteLength) : '';
}
