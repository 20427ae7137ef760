/** The commands of the README and of docs run as they are written. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { commandsOf, folderLikeClone, runCommand } from './pages.ts';

const cases: [page: string, section: string | undefined, commands: number, writes: string[]][] = [
  ['README.md', 'Run it from a command', 4, ['boxes.png', 'answers.jsonl']],
  ['README.md', 'Look inside', 3, ['report.html', 'features.npy']],
  ['docs/README.md', undefined, 1, []],
  ['docs/decoding.md', undefined, 2, []],
  ['docs/large-images.md', undefined, 6, ['page.hocr', 'maps/scene-1.png', 'maps/classes.json']],
  ['docs/hooks.md', undefined, 2, []],
  ['docs/export.md', undefined, 2, ['out/shapes/config.json', 'out/shapes-onnx/onnx/vision_encoder.onnx']],
  ['docs/inspect.md', undefined, 5, ['out/report.html', 'out/images.npy', 'out/maps.safetensors', 'out/asked.npy']],
];

for (const [page, section, count, writes] of cases) {
  test(`the commands of ${page}${section ? `, ${section}` : ''}`, async () => {
    const commands = commandsOf(page, section);
    assert.is(commands.length, count, commands.join('\n'));
    const folder = folderLikeClone();
    for (const command of commands) {
      const { code, output } = await runCommand(command, folder);
      assert.is(code, 0, `${command}\n${output}`);
    }
    for (const file of writes) assert.ok(existsSync(join(folder, file)), file);
  });
}

test.run();
