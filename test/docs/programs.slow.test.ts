/** The programs of the README and of docs run as they are written. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findBuilds } from '../../src/runtime/builds.ts';
import { folderLikeClone, programsOf, runProgram } from './pages.ts';

const hasTensorflow = findBuilds().length > 0;

interface Case {
  page: string;
  /** What each program prints, in order. */
  prints: RegExp[];
  writes?: string[];
}

const cases: Case[] = [
  {
    page: 'README.md',
    prints: [
      /^green circle (1|0\.\d+) \[[^\]]+\]\ngreen star (1|0\.\d+) \[/m,
      /sign \/ blue star\n.*sign that says "OPEN".*'blue triangle<loc_\d+>/s,
      /^\d+ \{ name: 'vision_tower\.hook_pixels'.*\na green circle and a green star \[ 1, 1, 73 \]/m,
      /^1 \d+\.\d+\n(.*\n)*4 \d+\.\d+$/m,
    ],
    writes: ['out/emeralds/latest/adapter_model.safetensors'],
  },
  {
    page: 'docs/concepts.md',
    prints: [
      /'mean',\s+'0,0'.*'<loc_\d+>'/s,
      /^green circle 0\.\d+ (1|0\.\d+)$/m,
      /'<OD>': \{\s+raw: \[.*'red square'/s,
    ],
    writes: ['out/calibration.json'],
  },
  { page: 'docs/evaluation.md', prints: [/^\{\s+mAP: 0\.4.*\]\s+0\.\d+ \d\.\d+$/ms, /^1 \[ 'green circle 1'/m] },
  {
    page: 'docs/export.md',
    prints: [/^\[\s*\[\s*1\.344/m, /^$/],
    writes: ['out/demo-onnx/onnx/decoder_model_merged.onnx_data', 'out/demo-fp16/model.safetensors'],
  },
  { page: 'docs/decoding.md', prints: [/^(.* -\d+\.\d+\n){3}(?!.*circle).+$/m, /label: 'green circle'/] },
  {
    page: 'docs/large-images.md',
    prints: [
      /label: 'green circle'/,
      /^OPEN\n<\?xml(.*\n)*.*class="ocr_page"(.|\n)*^2 128 128$/m,
      /^128 128 \[ 'background', 'a green circle', 'a green star' \]/m,
    ],
  },
  {
    page: 'docs/hooks.md',
    prints: [/vision_tower\.convs\.0\.hook_embed \[.*language_model\.decoder\.layers\.2\.hook_mlp_out -?\d/s],
    writes: ['patterns.safetensors', 'od.safetensors'],
  },
  {
    page: 'docs/attention.md',
    prints: [/^<s> looks at \d,\d of \[ \d, \d \] 0\.\d+/m, /^embedding \[\n\s+\{ token: \d+, text: /m, /^8 8 Float32Array/m],
    writes: ['grad-cam.png', 'integrated.png'],
  },
  { page: 'docs/patching.md', prints: [/^layer 1: Float32Array\(4\)(.|\n)*\nan? \w+ \w+.*\n$/m] },
  { page: 'docs/speed.md', prints: [/\[ 5, 64 \]/] },
]; // biome-ignore format: a table

/** Without tensorflow these fail, with an error that says why. */
const needsTensorflow: Record<string, RegExp> = {
  'docs/attention.md 3': /The wasm backend cannot compute these gradients/,
  'docs/speed.md 1': /tensorflow/i,
};

for (const { page, prints, writes = [] } of cases) {
  test(`the programs of ${page}`, () => {
    const programs = programsOf(page);
    assert.is(programs.length, prints.length);
    const folder = folderLikeClone();
    for (const [i, program] of programs.entries()) {
      const { code, stdout, output } = runProgram(program, folder);
      const refusal = hasTensorflow ? undefined : needsTensorflow[`${page} ${i + 1}`];
      if (refusal) {
        assert.match(output, refusal);
        continue;
      }
      assert.is(code, 0, `program ${i + 1}\n${output}`);
      assert.match(stdout, prints[i], `program ${i + 1}`);
    }
    if (hasTensorflow) for (const file of writes) assert.ok(existsSync(join(folder, file)), file);
  });
}

test.run();
