import { existsSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { temporaryFolder } from '../weights/temporary.ts';
import { commandsOf, root, runCommand } from './commands.ts';

for (const [section, least, files] of [
  ['Comparing two runs', 1, []],
  ['Features', 3, ['out/images.npy', 'out/maps.safetensors', 'out/asked.npy']],
] as [string, number, string[]][]) {
  test(`the commands of ${section} run as they stand`, async () => {
    const commands = commandsOf('docs/internals.md', section);
    assert.ok(commands.length >= least, commands.join('\n'));
    const folder = temporaryFolder();
    for (const name of ['weights', 'docs']) symlinkSync(join(root, name), join(folder, name));
    for (const command of commands) {
      const { code, output } = await runCommand(command.replaceAll('"', ''), folder);
      assert.is(code, 0, `${command}\n${output}`);
    }
    for (const file of files) assert.ok(existsSync(join(folder, file)), file);
  });
}

test.run();
