import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Florence2Error } from '../../errors.ts';
import { withRetries } from '../../files/network.ts';
import { compareVersions } from '../builds.ts';
import type { Artifact } from './download.ts';
import { type Http, withoutCredentials } from './http.ts';
import type { PipConfig } from './pip_config.ts';
import { type Machine, normalise, parseWheelName, runsOn, satisfies, type WheelName } from './wheel.ts';

/** A file listed by a package index. */
interface Link {
  file: string;
  url: string;
  sha256?: string;
  size?: number;
  yanked: boolean;
}

/** The fields used here of an index's JSON response (PEP 691). */
interface ProjectJson {
  files: { filename: string; url: string; hashes: Record<string, string>; size?: number; yanked?: boolean | string }[];
}

/** A request for a package: `requirement` is a version specifier such as `==2.21.0` or `<13,>=12.5`. */
export interface Wanted {
  project: string;
  requirement: string;
}

/**
 * Returns the newest wheel that satisfies the requirement and runs on the machine, from all of pip's indexes.
 * @throws Florence2Error if none does. The message lists what the indexes have.
 */
export async function findWheel(http: Http, config: PipConfig, wanted: Wanted, machine: Machine): Promise<Artifact> {
  const links = await findLinks(http, config, wanted.project);
  const wheels = links.flatMap(link => {
    const name = parseWheelName(link.file);
    return name?.project === normalise(wanted.project) ? [{ link, name }] : [];
  });
  const matching = wheels.filter(({ link, name }) => !link.yanked && satisfies(name.version, wanted.requirement));
  const fitting = matching.filter(({ name }) => name.platforms.some(platform => runsOn(platform, machine)));
  // Newest version first. Wheels for different Pythons have the same shared libraries, so any of them would do.
  const order = (a: { name: WheelName }, b: { name: WheelName }) =>
    compareVersions(b.name.version, a.name.version) ||
    b.name.python.localeCompare(a.name.python, 'en', { numeric: true });
  const [best] = fitting.sort(order);
  if (!best) throw new Florence2Error(explain(config, wanted, machine, wheels, matching), { code: 'SETUP' });
  return toArtifact(best.link);
}

/** The error message lists this many releases at most. */
const NEWEST_LISTED = 6;

function explain(
  config: PipConfig,
  { project, requirement }: Wanted,
  machine: Machine,
  wheels: { name: WheelName }[],
  matching: { name: WheelName }[],
): string {
  const places =
    [...config.indexes.map(withoutCredentials), ...config.findLinks].join(', ') || 'nowhere (no-index is set)';
  const system = machine.glibc === undefined ? '' : `, glibc ${machine.glibc}`;
  const here = `${machine.platform} ${machine.arch}${system}`;
  const unique = (values: string[]) => [...new Set(values)].join(', ');
  if (matching.length > 0) {
    const platforms = unique(matching.flatMap(({ name }) => name.platforms));
    return `No wheel of ${project} ${requirement} runs on ${here}. Wheels found in ${places} are for ${platforms}.`;
  }
  if (wheels.length > 0) {
    const releases = wheels.map(({ name }) => name.version).filter(version => /^[\d.]+$/.test(version));
    const newest = [...new Set(releases)].sort((a, b) => compareVersions(b, a)).slice(0, NEWEST_LISTED);
    return `No wheel of ${project} ${requirement} was found in ${places}. Available: ${newest.join(', ') || 'pre-releases only'}.`;
  }
  return `No wheel of ${project} was found in ${places}. Check pip's index (PIP_INDEX_URL, pip.conf).`;
}

function toArtifact({ file, url, sha256, size }: Link): Artifact {
  const local = url.startsWith('file:');
  if (sha256 === undefined && !local) {
    throw new Florence2Error(
      `The index lists no sha256 of ${file} (${withoutCredentials(url)}), so the file cannot be verified.`,
      { code: 'SETUP' },
    );
  }
  return {
    file,
    url,
    ...(sha256 !== undefined && { hash: { algorithm: 'sha256', digest: sha256 } }),
    ...(size !== undefined && { size }),
  };
}

async function findLinks(http: Http, config: PipConfig, project: string): Promise<Link[]> {
  const links: Link[] = [];
  for (const place of config.findLinks) links.push(...(await linksAt(http, place)));
  for (const index of config.indexes) {
    links.push(...(await linksOnPage(http, `${index.replace(/\/+$/, '')}/${normalise(project)}/`)));
  }
  return links;
}

/**
 * Lists the files of a --find-links entry: a folder of wheels, a wheel, or a page. Ignores missing paths, as pip does.
 */
async function linksAt(http: Http, place: string): Promise<Link[]> {
  if (/^https?:/.test(place)) return linksOnPage(http, place);
  const path = place.startsWith('file:') ? fileURLToPath(place) : place;
  if (!existsSync(path)) return [];
  const files = statSync(path).isDirectory() ? readdirSync(path).map(name => join(path, name)) : [path];
  return files.map(file => ({ file: basename(file), url: pathToFileURL(file).href, yanked: false }));
}

/** Lists the files on an index's page of a project. Empty if the page does not exist (404). */
async function linksOnPage(http: Http, url: string): Promise<Link[]> {
  const accept = 'application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01';
  return withRetries(async () => {
    const response = await http.get(url, { accept }, [404]);
    if (response.status === 404) {
      await response.body?.cancel();
      return [];
    }
    const page = response.url || withoutCredentials(url);
    const links = response.headers.get('content-type')?.includes('json')
      ? parseJsonPage((await response.json()) as ProjectJson)
      : parseHtmlPage(await response.text());
    return links.map(link => ({ ...link, url: withCredentialsOf(url, new URL(link.url, page)) }));
  });
}

/** Adds the index's user and password to files on the same host. */
function withCredentialsOf(index: string, file: URL): string {
  const { host, username, password } = new URL(index);
  if (file.host === host && !file.username) Object.assign(file, { username, password });
  return file.href;
}

const parseJsonPage = ({ files }: ProjectJson): Link[] =>
  files.map(({ filename, url, hashes, size, yanked }) => ({
    file: filename,
    url,
    ...(hashes.sha256 && { sha256: hashes.sha256 }),
    ...(size !== undefined && { size }),
    yanked: yanked !== undefined && yanked !== false,
  }));

/** Parses the HTML format (PEP 503): one anchor per file, with its hash after the `#`. */
function parseHtmlPage(html: string): Link[] {
  return [...html.matchAll(/<a\s([^>]*)>/gi)].flatMap(([, attributes]) => {
    const href = /\bhref\s*=\s*(?:"([^"]*)"|'([^']*)')/i.exec(attributes!);
    if (!href) return [];
    const [url, fragment = ''] = unescapeHtml(href[1] ?? href[2]!).split('#') as [string, string?];
    const sha256 = /sha256=([0-9a-f]{64})/i.exec(fragment)?.[1]?.toLowerCase();
    const file = decodeURIComponent(url.split('?')[0]!.split('/').pop()!);
    return [{ file, url, ...(sha256 && { sha256 }), yanked: /\bdata-yanked\b/i.test(attributes!) }];
  });
}

const unescapeHtml = (text: string) =>
  text
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&#39;', "'")
    .replaceAll('&amp;', '&');
