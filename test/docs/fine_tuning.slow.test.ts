import { existsSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findBuilds } from '../../src/runtime/builds.ts';
import { commandsOf, folderLikeClone, runCommand } from './pages.ts';

/** Returns a command with arguments that shorten it: few images, few steps. */
function shortened(command: string): string {
  if (command.includes('tools/new_shape.ts')) return `${command} --train 8 --valid 1 --test 6 --replay 8`;
  if (!/ train (?!.*--check)/.test(command)) return command;
  return `${command.replaceAll(/ --(max-steps|validate-examples) \d+/g, '')} --max-steps 2 --validate-examples 1`;
}

/** Runs the commands in order, shortened, and returns the folder they ran in. */
async function runAll(commands: string[]): Promise<string> {
  const folder = folderLikeClone();
  for (const command of commands) {
    const { code, output } = await runCommand(shortened(command), folder);
    assert.is(code, 0, `${command}\n${output}`);
  }
  return folder;
}

test('the commands of the README, Fine-tune', async () => {
  const commands = commandsOf('README.md', 'Fine-tune');
  assert.ok(commands.length >= 4, commands.join('\n'));
  const folder = await runAll(commands);
  assert.ok(existsSync(join(folder, 'out/hearts-run/latest/adapter_model.safetensors')));
});

// The vision tower is trained too; wasm lacks the gradients of its convolutions.
const onTensorflow = findBuilds().length > 0 ? test : test.skip;
onTensorflow('the commands of docs/fine-tuning.md that teach a new shape and export it', async () => {
  const commands = commandsOf('docs/fine-tuning.md');
  assert.is(commands.length, 4, commands.join('\n'));
  const folder = await runAll(commands);
  const { width, height } = await sharp(join(folder, 'out/hearts.png')).metadata();
  assert.ok(width > 200 && height > 200, `${width}×${height}`);
  assert.ok(existsSync(join(folder, 'out/hearts-onnx/onnx/decoder_model_merged.onnx')));
});

test.run();
