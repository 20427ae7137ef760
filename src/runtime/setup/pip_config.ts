import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** pip's settings: indexes, credentials, network. */
export interface PipConfig {
  /** Simple indexes, the main one first. Empty with `no-index`. */
  indexes: string[];
  /** Folders, files or pages with links to wheels. */
  findLinks: string[];
  /** A file of certificates to trust. */
  cert?: string;
  proxy?: string;
}

/** Returns pip's configuration files. Later ones override earlier ones; see "Configuration" in pip's documentation. */
function configFiles(env: NodeJS.ProcessEnv, etc: string): string[] {
  if (env.PIP_CONFIG_FILE === '/dev/null') return []; // pip's way to disable its files
  const home = env.HOME ?? homedir();
  const config = env.XDG_CONFIG_HOME || join(home, '.config');
  const shared = (env.XDG_CONFIG_DIRS || join(etc, 'xdg')).split(':').reverse();
  const mac = process.platform === 'darwin';
  const support = join(home, 'Library/Application Support/pip');
  return [
    ...(mac ? ['/Library/Application Support/pip/pip.conf'] : []),
    ...shared.map(folder => join(folder, 'pip/pip.conf')),
    join(etc, 'pip.conf'),
    join(home, '.pip/pip.conf'),
    join(mac && existsSync(support) ? support : join(config, 'pip'), 'pip.conf'),
    ...(env.VIRTUAL_ENV ? [join(env.VIRTUAL_ENV, 'pip.conf')] : []),
    ...(env.PIP_CONFIG_FILE ? [env.PIP_CONFIG_FILE] : []),
  ];
}

/** Reads the settings of `pip install`: its files, then its environment variables. */
export function readPipConfig(env: NodeJS.ProcessEnv = process.env, etc = '/etc'): PipConfig {
  const settings = new Map<string, string>();
  for (const file of configFiles(env, etc)) {
    if (!existsSync(file)) continue;
    const sections = parseIni(readFileSync(file, 'utf8'));
    for (const section of ['global', 'install']) {
      for (const [key, value] of sections.get(section) ?? []) settings.set(key, value);
    }
  }
  for (const [name, value] of Object.entries(env)) {
    if (name.startsWith('PIP_') && value) settings.set(name.slice(4).toLowerCase().replaceAll('_', '-'), value);
  }
  const list = (key: string) => settings.get(key)?.split(/\s+/).filter(Boolean) ?? [];
  const noIndex = /^(1|true|yes|on)$/i.test(settings.get('no-index') ?? '');
  const cert = settings.get('cert') || env.SSL_CERT_FILE || env.REQUESTS_CA_BUNDLE || env.CURL_CA_BUNDLE;
  const proxy = settings.get('proxy');
  return {
    indexes: noIndex ? [] : [settings.get('index-url') ?? 'https://pypi.org/simple', ...list('extra-index-url')],
    findLinks: list('find-links'),
    ...(cert && { cert }),
    ...(proxy && { proxy }),
  };
}

/** Parses sections of `key = value` or `key: value` lines. An indented line continues the previous value. */
function parseIni(text: string): Map<string, Map<string, string>> {
  const sections = new Map<string, Map<string, string>>();
  let section = new Map<string, string>();
  let key: string | undefined;
  for (const line of text.split(/\r?\n/)) {
    const header = /^\[(.+)\]\s*$/.exec(line);
    const entry = /^([^\s#;[][^=:]*?)\s*[=:]\s*(.*)$/.exec(line);
    if (header) {
      key = undefined;
      section = sections.get(header[1]!) ?? new Map();
      sections.set(header[1]!, section);
    } else if (/^\s*([#;]|$)/.test(line)) {
      // A comment or an empty line.
    } else if (/^\s/.test(line) && key !== undefined) {
      section.set(key, `${section.get(key)} ${line.trim()}`.trim());
    } else if (entry) {
      key = entry[1]!.toLowerCase().replaceAll('_', '-');
      section.set(key, entry[2]!.trim());
    }
  }
  return sections;
}
