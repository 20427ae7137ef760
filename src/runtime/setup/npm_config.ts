import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

/** Where npm would look for a package, and how it would get there. */
export interface NpmConfig {
  /** Registry of a package, with a slash at the end. */
  registry(packageName: string): string;
  /** Headers for an address: what .npmrc says of its registry, and nothing for others. */
  headers(url: string): Record<string, string>;
  /** A file of certificates to trust. */
  cert?: string;
  proxy?: string;
}

/** npm's settings: global, user and project .npmrc, then npm_config_* variables (which `npm run` and npx set). */
export function readNpmConfig(env: NodeJS.ProcessEnv = process.env, folder = process.cwd()): NpmConfig {
  const variables = new Map<string, string>();
  for (const [name, value] of Object.entries(env)) {
    if (/^npm_config_/i.test(name) && value) {
      const key = name.slice('npm_config_'.length);
      // Names of registries keep their case and their signs; options are written with underscores.
      variables.set(/[/@]/.test(key) ? key : key.toLowerCase().replaceAll('_', '-'), value);
    }
  }
  const prefix = env.PREFIX || dirname(dirname(process.execPath));
  const files = [
    variables.get('globalconfig') ?? join(prefix, 'etc/npmrc'),
    variables.get('userconfig') ?? join(env.HOME ?? homedir(), '.npmrc'),
    join(folder, '.npmrc'),
  ];
  const settings = new Map<string, string>();
  for (const file of files) {
    if (existsSync(file))
      for (const [key, value] of parseNpmrc(readFileSync(file, 'utf8'), env)) settings.set(key, value);
  }
  for (const [key, value] of variables) settings.set(key, value);

  const standard = slashed(settings.get('registry') ?? 'https://registry.npmjs.org/');
  const [cert, proxy] = [settings.get('cafile'), settings.get('https-proxy') ?? settings.get('proxy')];
  return {
    registry: name => {
      const scope = /^(@[^/]+)\//.exec(name)?.[1];
      const own = scope && settings.get(`${scope}:registry`);
      return own ? slashed(own) : standard;
    },
    headers: url => authorization(settings, url),
    ...(cert && { cert }),
    ...(proxy && proxy !== 'null' && { proxy }),
  };
}

const slashed = (url: string) => (url.endsWith('/') ? url : `${url}/`);

/** The longest `//host/path/:_authToken` (or :_auth) that the address lies under. */
function authorization(settings: Map<string, string>, url: string): Record<string, string> {
  const { host, pathname } = new URL(url);
  const parts = pathname.split('/');
  for (let length = parts.length; length > 0; length--) {
    const key = `//${host}${slashed(parts.slice(0, length).join('/'))}`;
    const token = settings.get(`${key}:_authToken`);
    const basic = settings.get(`${key}:_auth`);
    if (token) return { authorization: `Bearer ${token}` };
    if (basic) return { authorization: `Basic ${basic}` };
  }
  return {};
}

/** Lines of `key = value`, where `${NAME}` stands for an environment variable. */
function parseNpmrc(text: string, env: NodeJS.ProcessEnv): [string, string][] {
  return text.split(/\r?\n/).flatMap(line => {
    const entry = /^\s*([^#;\s=][^=]*?)\s*=\s*(.*?)\s*$/.exec(line);
    if (!entry) return [];
    const value = entry[2]!.replace(/^(["'])(.*)\1$/, '$2').replace(/\$\{([^}]+)\}/g, (all, name) => env[name] ?? all);
    return [[entry[1]!, value] as [string, string]];
  });
}
