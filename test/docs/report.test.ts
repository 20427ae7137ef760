import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { commandsOf, folderLikeClone, runCommand } from './pages.ts';

test('the command that docs/inspect.md begins with writes a report', async () => {
  const [command] = commandsOf('docs/inspect.md');
  const folder = folderLikeClone();
  const { code, output } = await runCommand(command, folder, '--max-new-tokens', '8');
  assert.is(code, 0, output);
  assert.ok(existsSync(join(folder, 'out/report.html')));
});

test.run();
