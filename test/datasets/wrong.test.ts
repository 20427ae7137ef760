/** Checks the reference's small datasets with one fault each, and those without. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkDataset, openAnnotations } from '../../src/datasets/open.ts';
import type { DatasetProblem } from '../../src/datasets/reading.ts';
import { Florence2Error } from '../../src/errors.ts';
import { referenceRoot } from '../reference.ts';

const root = join(referenceRoot, 'datasets');
const list = join(root, 'expected/wrong.json');
if (!existsSync(list)) console.log(`Skipped: ${list} does not exist. Set FLORENCE2_REFERENCE to the whole reference.`);

interface Expected {
  severity: 'error' | 'warning';
  file: string;
  line?: number;
  element?: string;
  about: string[];
}

interface Case {
  open: string;
  problems: Expected[];
  alternative?: 'error' | 'warning';
  fine?: boolean;
  objects?: number;
  tasks?: 'segmentation';
}

const cases: Record<string, Case> = existsSync(list) ? JSON.parse(readFileSync(list, 'utf8')) : {};

for (const [name, wrong] of Object.entries(cases)) {
  test(`${name}`, async () => {
    const path = join(root, 'wrong', name, wrong.open);
    const tasks = wrong.tasks && ['<REGION_TO_SEGMENTATION>', '<OD>'];
    const found = await problemsOf(path, tasks);
    const shown = found.map(({ severity, source, message }) => `${severity} ${source}: ${message}`).join('\n');
    if (wrong.fine) assert.equal(found, [], shown);
    for (const expected of wrong.problems) {
      assert.ok(
        found.some(problem => matches(problem, expected, wrong.alternative)),
        `nothing like ${JSON.stringify(expected)} in\n${shown}`,
      );
    }
    if (wrong.objects === undefined) return;
    const read = await readable(path);
    const allowed =
      wrong.alternative === 'warning' && wrong.problems[0].severity === 'error' ? [wrong.objects, 8] : [wrong.objects];
    assert.ok(allowed.includes(read), `${read} objects are read, expected ${wrong.objects}`);
  });
}

/** Returns all problems; an error that stops reading is one too. */
async function problemsOf(path: string, tasks?: string[]): Promise<DatasetProblem[]> {
  try {
    return (await checkDataset(path, { ...(tasks && { tasks }) })).problems;
  } catch (error) {
    assert.ok(error instanceof Florence2Error, String(error));
    return [{ severity: 'error', source: '', message: (error as Error).message }];
  }
}

/** Whether a problem names the place, and each of the words. `|` separates alternatives. */
function matches({ severity, source, message }: DatasetProblem, expected: Expected, alternative?: string): boolean {
  const all = `${source}: ${message}`.toLowerCase();
  const has = (words: string): boolean => words.split('|').some(word => all.includes(word.toLowerCase()));
  const { file, line, element, about } = expected;
  const inFile = source === '' ? has(file) : file.split('|').some(one => source.includes(one));
  const there = (line !== undefined && new RegExp(`:${line}\\b`).test(all)) || (element !== undefined && has(element));
  return (
    (severity === expected.severity || severity === alternative) &&
    inFile &&
    (there || (line === undefined && element === undefined)) &&
    about.every(has)
  );
}

/** Returns the number of objects and rows that are read in spite of problems. */
async function readable(path: string): Promise<number> {
  try {
    const set = await openAnnotations(path, { onProblem: () => undefined });
    let count = 0;
    for (let i = 0; i < set.length; i++) {
      const { objects, targets } = await set.image(i);
      count += objects.length + targets.length;
    }
    return count;
  } catch (error) {
    assert.ok(error instanceof Florence2Error, String(error));
    return 0;
  }
}

test.run();
