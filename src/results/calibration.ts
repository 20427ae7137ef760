import { Florence2Error } from '../errors.ts';
import { type Folder, readText } from '../files/folder.ts';
import { isRecord, parseJsonObject } from '../json.ts';
import { openFolder } from '../platform/node.ts';
import { mapObjects } from './filter.ts';
import type { TaskResult } from './types.ts';

/** A monotone map: `raw[i]` becomes `calibrated[i]`, linear between them and constant outside. */
export interface CalibrationCurve {
  /** Confidences before calibration, ascending. */
  readonly raw: readonly number[];
  /** The share of right answers at each of them, not descending. */
  readonly calibrated: readonly number[];
}

/** The curve of each task, by task token; `prompt` for custom prompts. */
export type Calibration = Readonly<Record<string, CalibrationCurve>>;

/** The file of a calibration, in the folder of its checkpoint or adapter. */
export const CALIBRATION_FILE = 'calibration.json';

/**
 * Returns a result with calibrated confidences; those before are its `rawConfidence`. A result of a task without a curve
 * is returned unchanged.
 */
export function applyCalibration(result: TaskResult, calibration: Calibration): TaskResult {
  const curve = calibration[result.task];
  if (!curve) return result;
  const change = <T extends { confidence?: number }>(object: T): T => {
    const { confidence: raw } = object;
    return raw === undefined ? object : { ...object, confidence: interpolate(curve, raw), rawConfidence: raw };
  };
  return mapObjects('text' in result ? change(result) : result, object => [change(object)]);
}

/** Returns the value of a curve at a confidence. */
export function interpolate({ raw, calibrated }: CalibrationCurve, at: number): number {
  const next = raw.findIndex(value => value >= at);
  if (next < 0) return calibrated.at(-1)!;
  if (next === 0 || raw[next] === at) return calibrated[next];
  const share = (at - raw[next - 1]) / (raw[next] - raw[next - 1]);
  return calibrated[next - 1] + share * (calibrated[next] - calibrated[next - 1]);
}

/**
 * Reads calibration.json; null if the folder has none.
 *
 * @throws Florence2Error that names the file and the invalid curve
 */
export async function readCalibration(folder: Folder): Promise<Calibration | null> {
  const text = await readText(folder, CALIBRATION_FILE);
  if (text === undefined) return null;
  const path = folder.pathOf(CALIBRATION_FILE);
  const curves = parseJsonObject(text, path);
  for (const [task, curve] of Object.entries(curves)) {
    if (!isCurve(curve)) {
      throw new Florence2Error(`${path}: ${task} must have lists raw and calibrated of equal length, from 0 to 1 and ascending.`); // biome-ignore format: one line
    }
  }
  return curves as unknown as Calibration;
}

/**
 * Writes calibration.json to the folder of a checkpoint or an adapter. Node only.
 *
 * @throws Florence2Error if the file cannot be written
 */
export const writeCalibration = (folder: string, calibration: Calibration): Promise<void> =>
  openFolder(folder).write(CALIBRATION_FILE, formatCalibration(calibration));

/** Returns the contents of a calibration.json. */
export const formatCalibration = (calibration: Calibration): Uint8Array =>
  new TextEncoder().encode(`${JSON.stringify(calibration)}\n`);

function isCurve(value: unknown): value is CalibrationCurve {
  if (!isRecord(value)) return false;
  const { raw, calibrated } = value;
  return isAscending(raw) && isAscending(calibrated) && raw.length === calibrated.length && raw.length > 0;
}

const isAscending = (values: unknown): values is number[] =>
  Array.isArray(values) &&
  values.every((value, i) => typeof value === 'number' && value >= (i > 0 ? values[i - 1] : 0) && value <= 1);
