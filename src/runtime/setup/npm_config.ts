import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

/** npm's settings: registries, credentials, network. */
export interface NpmConfig {
  /** Returns the URL of a package's registry, with a trailing slash. */
  registry(packageName: string): string;
  /** Returns the authorization headers of .npmrc for a URL; empty for other hosts. */
  headers(url: string): Record<string, string>;
  /** A file of certificates to trust. */
  cert?: string;
  proxy?: string;
}

/** Reads the global, user and project .npmrc, then the npm_config_* variables, which `npm run` and npx set. */
export function readNpmConfig(env: NodeJS.ProcessEnv = process.env, folder = process.cwd()): NpmConfig {
  const variables = new Map<string, string>();
  for (const [name, value] of Object.entries(env)) {
    if (/^npm_config_/i.test(name) && value) {
      const key = name.slice('npm_config_'.length);
      // Keys of registries contain / or @ and are kept; in the names of options, underscores stand for hyphens.
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

/** Returns the header of the longest `//host/path/:_authToken` (or `:_auth`) key that is a prefix of the URL. */
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

/** Parses lines `key = value` and replaces `${NAME}` by environment variables. */
function parseNpmrc(text: string, env: NodeJS.ProcessEnv): [string, string][] {
  return text.split(/\r?\n/).flatMap(line => {
    const entry = /^\s*([^#;\s=][^=]*?)\s*=\s*(.*?)\s*$/.exec(line);
    if (!entry) return [];
    const value = entry[2]!.replace(/^(["'])(.*)\1$/, '$2').replace(/\$\{([^}]+)\}/g, (all, name) => env[name] ?? all);
    return [[entry[1]!, value] as [string, string]];
  });
}
