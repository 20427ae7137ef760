/** The commands of the README and of docs run as they are written. */
import { cpSync, existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { commandsOf, folderLikeClone, root, runCommand } from './pages.ts';

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

test('the commands of docs/datasets.md', async () => {
  const commands = commandsOf('docs/datasets.md');
  assert.is(commands.length, 3, commands.join('\n'));
  const folder = folderLikeClone();
  const reference = join(root, 'test/reference/datasets');
  cpSync(join(reference, 'label-studio'), join(folder, 'exports'), { recursive: true });
  renameSync(join(folder, 'exports/export.json'), join(folder, 'exports/project.json'));
  rmSync(join(folder, 'exports/predictions.json'));
  cpSync(join(reference, 'yolo/roboflow'), join(folder, 'data/yolo'), { recursive: true });
  for (const command of commands) {
    const short = command.includes(' train ') ? ['--model', 'demo', '--max-steps', '2'] : [];
    const { code, output } = await runCommand(command, folder, ...short);
    assert.is(code, 0, `${command}\n${output}`);
  }
  const written = ['data/dents/train/annotations.jsonl', 'data/coco/annotations/instances_train.json'];
  for (const file of [...written, 'runs/dents/latest']) assert.ok(existsSync(join(folder, file)), file);
});

test.run();
