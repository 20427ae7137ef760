import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readNpmConfig } from '../../../src/runtime/setup/npm_config.ts';
import { temporaryFolder } from '../../weights/temporary.ts';

interface Case {
  name: string;
  user?: string;
  project?: string;
  env?: Record<string, string>;
  /** Package → expected registry. */
  registries?: Record<string, string>;
  /** URL → expected authorization header. */
  headers?: Record<string, string | undefined>;
  cert?: string;
}

const cases: Case[] = [
  { name: 'no settings', registries: { 'node-api-headers': 'https://registry.npmjs.org/' } },
  { name: 'the user file', user: 'registry=https://a.example/npm', registries: { x: 'https://a.example/npm/' } },
  {
    name: "the project's file overrides the user's",
    user: 'registry=https://user.example/',
    project: '# ours\nregistry = "https://project.example/"\n',
    registries: { x: 'https://project.example/' },
  },
  {
    name: 'a variable overrides both',
    user: 'registry=https://user.example/',
    env: { npm_config_registry: 'https://env.example/' },
    registries: { x: 'https://env.example/' },
  },
  {
    name: 'a registry for one scope',
    user: '@tensorflow:registry=https://scope.example/',
    registries: { '@tensorflow/tfjs-node': 'https://scope.example/', '@other/x': 'https://registry.npmjs.org/' },
  },
  {
    name: 'a token for one registry, from the environment',
    user: `registry=https://a.example/npm/\n//a.example/npm/:_authToken=\${MY_TOKEN}\n//b.example/:_auth=dTpw\n`,
    env: { MY_TOKEN: 'secret' },
    headers: {
      'https://a.example/npm/x/-/x-1.tgz': 'Bearer secret',
      'https://a.example/other': undefined,
      'https://b.example/deep/x': 'Basic dTpw',
      'https://c.example/': undefined,
    },
  },
  { name: 'certificates', user: 'cafile=/etc/ca.pem', cert: '/etc/ca.pem' },
];

for (const { name, user = '', project = '', env = {}, registries = {}, headers = {}, cert } of cases) {
  test(name, () => {
    const home = temporaryFolder();
    mkdirSync(join(home, 'project'));
    writeFileSync(join(home, '.npmrc'), user);
    writeFileSync(join(home, 'project/.npmrc'), project);
    const config = readNpmConfig({ HOME: home, PREFIX: home, ...env }, join(home, 'project'));
    for (const [packageName, registry] of Object.entries(registries)) assert.is(config.registry(packageName), registry);
    for (const [url, header] of Object.entries(headers)) assert.is(config.headers(url).authorization, header, url);
    assert.is(config.cert, cert);
  });
}

test.run();
