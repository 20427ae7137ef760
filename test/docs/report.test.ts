import { existsSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { temporaryFolder } from '../weights/temporary.ts';
import { commandsOf, root, runCommand } from './commands.ts';

test('the command that makes a report', async () => {
  const [command, ...others] = commandsOf('docs/internals.md', 'A report');
  assert.equal(others, []);
  const folder = temporaryFolder();
  for (const name of ['weights', 'docs']) symlinkSync(join(root, name), join(folder, name));
  const { code, output } = await runCommand(command, folder, '--max-new-tokens', '8');
  assert.is(code, 0, output);
  assert.ok(existsSync(join(folder, 'out/report.html')));
});

test.run();
