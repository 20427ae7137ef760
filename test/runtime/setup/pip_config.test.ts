import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type PipConfig, readPipConfig } from '../../../src/runtime/setup/pip_config.ts';
import { temporaryFolder } from '../../weights/temporary.ts';

const pypi = 'https://pypi.org/simple';

/** Expected: what `pip config debug` and `pip install -v` read from the same files and variables. */
const cases: { name: string; files?: Record<string, string>; env?: Record<string, string>; expected: PipConfig }[] = [
  { name: 'no settings', expected: { indexes: [pypi], findLinks: [] } },
  {
    name: 'the user file',
    files: { '.config/pip/pip.conf': '[global]\nindex-url = https://a.example/simple\n' },
    expected: { indexes: ['https://a.example/simple'], findLinks: [] },
  },
  {
    name: 'the new user file overrides the old one',
    files: {
      '.pip/pip.conf': '[global]\nindex-url=https://old.example\ncert=/old.pem\n',
      '.config/pip/pip.conf': '[global]\nindex-url=https://new.example\n',
    },
    expected: { indexes: ['https://new.example'], findLinks: [], cert: '/old.pem' },
  },
  {
    name: "the command's section overrides the global one",
    files: {
      '.config/pip/pip.conf': '[install]\nindex-url: https://b.example\n[global]\nindex-url: https://a.example\n',
    },
    expected: { indexes: ['https://b.example'], findLinks: [] },
  },
  {
    name: 'values on several lines, underscores, comments',
    files: {
      '.config/pip/pip.conf':
        '# mine\n[global]\nextra_index_url =\n    https://x.example\n    https://y.example\n; more\nfind-links = /wheels\n',
    },
    expected: { indexes: [pypi, 'https://x.example', 'https://y.example'], findLinks: ['/wheels'] },
  },
  {
    name: 'the system-wide files',
    files: {
      'etc/xdg/pip/pip.conf': '[global]\nproxy = http://proxy.example:3128\ncert = /xdg.pem\n',
      'etc/pip.conf': '[global]\ncert = /etc.pem\n',
    },
    expected: { indexes: [pypi], findLinks: [], proxy: 'http://proxy.example:3128', cert: '/etc.pem' },
  },
  {
    name: "the virtual environment's file overrides the user's",
    files: {
      '.config/pip/pip.conf': '[global]\nindex-url = https://user.example\n',
      'venv/pip.conf': '[global]\nindex-url = https://venv.example\n',
    },
    env: { VIRTUAL_ENV: '~/venv' },
    expected: { indexes: ['https://venv.example'], findLinks: [] },
  },
  {
    name: 'PIP_CONFIG_FILE overrides the other files',
    files: {
      '.config/pip/pip.conf': '[global]\nindex-url = https://user.example\ncert = /user.pem\n',
      'named.conf': '[global]\nindex-url = https://named.example\n',
    },
    env: { PIP_CONFIG_FILE: '~/named.conf' },
    expected: { indexes: ['https://named.example'], findLinks: [], cert: '/user.pem' },
  },
  {
    name: 'PIP_CONFIG_FILE=/dev/null disables all files',
    files: { '.config/pip/pip.conf': '[global]\nindex-url = https://user.example\n' },
    env: { PIP_CONFIG_FILE: '/dev/null' },
    expected: { indexes: [pypi], findLinks: [] },
  },
  {
    name: 'variables override files',
    files: {
      '.config/pip/pip.conf': '[global]\nindex-url = https://user.example\nextra-index-url = https://x.example\n',
    },
    env: { PIP_INDEX_URL: 'https://env.example', PIP_CERT: '/env.pem', SSL_CERT_FILE: '/system.pem' },
    expected: { indexes: ['https://env.example', 'https://x.example'], findLinks: [], cert: '/env.pem' },
  },
  {
    name: 'no index',
    env: { PIP_NO_INDEX: '1', PIP_FIND_LINKS: '/wheels https://links.example' },
    expected: { indexes: [], findLinks: ['/wheels', 'https://links.example'] },
  },
  {
    name: 'certificates of OpenSSL and requests',
    env: { SSL_CERT_FILE: '/system.pem' },
    expected: { indexes: [pypi], findLinks: [], cert: '/system.pem' },
  },
];

for (const { name, files = {}, env = {}, expected } of cases) {
  test(name, () => {
    const home = temporaryFolder();
    for (const [file, text] of Object.entries(files)) {
      mkdirSync(dirname(join(home, file)), { recursive: true });
      writeFileSync(join(home, file), text);
    }
    const inHome = Object.entries(env).map(([key, value]) => [key, value.replace('~', home)]);
    assert.equal(readPipConfig({ HOME: home, ...Object.fromEntries(inHome) }, join(home, 'etc')), expected);
  });
}

test.run();
