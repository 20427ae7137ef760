import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { Florence2Error, UsageError } from '../../errors.ts';
import { parseJsonObject } from '../../json.ts';
import { listNames } from '../../names.ts';
import { openFolder } from '../../platform/node.ts';
import { CALIBRATION_FILE } from '../../results/calibration.ts';
import { ADAPTER_WEIGHT_FILES, shardNames, WEIGHT_FILES } from '../../weights/checkpoint.ts';
import { adapterAdvice } from '../load_config.ts';
import { TOKENIZER_FILES } from '../tokenizer_files.ts';
import { type FileSet, isCommit, RepoCache } from './cache.ts';
import { HubClient, HubError, type HubFile } from './client.ts';
import { hasContent } from './content.ts';
import { downloadFile } from './download.ts';

/** Options of a download from the Hugging Face hub. */
export interface HubOptions {
  /** Branch, tag or commit. Default `main`. */
  revision?: string;
  /** Folder of the files in the repository, such as `icon_caption`. Default: its top. */
  subfolder?: string;
  /** What is downloaded. Default `checkpoint`. */
  files?: keyof typeof FILE_SETS;
  /** Access token. Default: HF_TOKEN, HUGGING_FACE_HUB_TOKEN, or the token that `hf auth login` stored. */
  token?: string;
  /** Called with the bytes loaded and the total of all files of the download. */
  onProgress?: (progress: { stage: 'download'; file: string; loaded: number; total: number }) => void;
  /** Ends the download. What is complete stays in the cache. */
  signal?: AbortSignal;
  /** Pause before the first retry, in milliseconds. It doubles with each retry. Default 500. */
  retryDelay?: number;
  /** Milliseconds without a byte from the hub after which a request fails. Default 20,000. */
  timeout?: number;
}

/** Settings of images, and the tokenizer. */
const PROCESSOR_FILES = ['preprocessor_config.json', 'processor_config.json', ...TOKENIZER_FILES];

/** The files of what may be downloaded. */
const FILE_SETS = {
  checkpoint: {
    what: 'a Florence-2 checkpoint',
    config: 'config.json',
    small: ['config.json', 'generation_config.json', CALIBRATION_FILE, ...PROCESSOR_FILES],
    weights: WEIGHT_FILES,
    oneOf: [['tokenizer.json'], ['vocab.json', 'merges.txt']],
  },
  processor: {
    what: 'a checkpoint with a processor',
    config: 'config.json',
    small: ['config.json', ...PROCESSOR_FILES],
    weights: [],
    oneOf: [['tokenizer.json'], ['vocab.json', 'merges.txt']],
  },
  adapter: {
    what: 'an adapter',
    config: 'adapter_config.json',
    small: ['adapter_config.json', CALIBRATION_FILE],
    weights: ADAPTER_WEIGHT_FILES,
    oneOf: [],
  },
} satisfies Record<string, FileSet>;

/**
 * Downloads the missing files of a hub model into the Hugging Face cache and returns their folder. HF_HOME or
 * HF_HUB_CACHE set the folder of the cache, HF_ENDPOINT the hub, HF_TOKEN the token. With HF_HUB_OFFLINE=1 no request
 * is sent. If the hub cannot be reached or refuses the model, an earlier download is used, with a warning.
 *
 * @param id an id such as `microsoft/Florence-2-base`
 * @throws Florence2Error saying what is missing or why the hub refused; UsageError for a malformed revision; the reason of
 *   an aborted signal
 */
export async function downloadModel(id: string, options: HubOptions = {}): Promise<string> {
  const {
    revision = 'main',
    subfolder = '',
    files = 'checkpoint',
    onProgress,
    signal,
    retryDelay = 500,
    timeout = 20_000,
  } = options;
  if (!/^[\w.-]+(\/[\w.-]+)*$/.test(revision) || revision.split('/').includes('..')) {
    throw new UsageError(`"${revision}" is not a valid revision.`);
  }
  const hub = await import('@huggingface/hub');
  const folder = join(hub.getHFHubCachePath(), hub.getRepoFolderName({ type: 'model', name: id }));
  const cache = new RepoCache(folder, subfolder);
  const earlier = await cache.commitOf(revision);
  const cached = earlier === undefined ? undefined : await cache.inspect(earlier, FILE_SETS[files]);
  const usable = cached?.lacks.length === 0 ? cached.folder : undefined;
  if (cached?.complete && isCommit(revision)) return cached.folder;
  if (isOffline()) return usable ?? refuseOffline(id, revision, folder, cached?.lacks);
  const access = { endpoint: hubEndpoint(), token: await accessToken(options.token), retryDelay, timeout, signal };
  const client = new HubClient(hub, id, subfolder, access);
  try {
    const commit = isCommit(revision) ? revision : await client.commitOf(revision);
    if (!(commit === earlier && cached?.complete)) await download(client, commit, cache, FILE_SETS[files], onProgress);
    await cache.setRef(revision, commit);
    return cache.snapshot(commit);
  } catch (error) {
    if (!usable || !(error instanceof HubError && mayUseCache(error))) throw error;
    console.warn(`${error.message} Using the download in ${usable}.`);
    return usable;
  } finally {
    await client.close();
  }
}

/** Whether an earlier download may take the place of a failed one: the hub is not reached, or refuses this user. */
const mayUseCache = ({ unreachable, transient, status }: HubError): boolean =>
  unreachable || transient || status === 401 || status === 403;

function refuseOffline(id: string, revision: string, folder: string, lacks: readonly string[] = []): never {
  const isPartial = lacks.length > 0 && !lacks.includes('config.json');
  const problem = isPartial
    ? `"${id}" is incomplete in the cache ${folder}: ${listNames(lacks, 'and')} of revision ${revision} ${lacks.length > 1 ? 'are' : 'is'} missing or damaged`
    : `"${id}" is not a folder, and revision ${revision} of the hub model is not in the cache ${folder}`;
  throw new Florence2Error(`${problem}; HF_HUB_OFFLINE forbids downloading it.`, { code: 'FILE_NOT_FOUND' });
}

/** Downloads small files first and weights last, so that a snapshot with weights is complete. */
async function download(
  client: HubClient,
  commit: string,
  cache: RepoCache,
  { small, config, what, weights: weightFiles }: FileSet,
  onProgress: HubOptions['onProgress'],
): Promise<void> {
  const snapshot = cache.snapshot(commit);
  const listed = new Map((await client.files(commit)).map(file => [file.path, file]));
  const weights = weightFiles.find(name => listed.has(name));
  const lacksWeights = !weights && weightFiles.length > 0;
  if (!listed.has(config) || lacksWeights) {
    await refuseAdapter(client, commit, listed);
    const lacks = lacksWeights ? weightFiles.filter(name => !name.endsWith('.index.json')).join(' or ') : config;
    throw new Florence2Error(`${client.address} has no ${lacks}, so it is not ${what}.`);
  }
  const fetchAll = async (names: readonly string[]): Promise<void> => {
    const files = await changedFiles(snapshot, names, listed);
    const total = files.reduce((bytes, { size }) => bytes + size, 0);
    let before = 0;
    for (const file of files) {
      const report = (loaded: number) =>
        onProgress?.({ stage: 'download', file: file.path, loaded: before + loaded, total });
      const blob = cache.blob(file.etag);
      if (!(await hasContent(blob, file.etag, file.size))) await downloadFile(client, commit, file, blob, report);
      await cache.link(file.etag, commit, file.path);
      before += file.size;
    }
  };
  const absent = small.filter(name => !listed.has(name));
  await fetchAll([...small, ...(weights ? [weights] : [])]);
  await cache.setAbsent(commit, absent);
  if (!weights?.endsWith('.index.json')) return;
  const shards = (await shardNames(openFolder(snapshot), weights)) ?? [];
  const unlisted = shards.find(name => !listed.has(name));
  if (unlisted) throw new Florence2Error(`${client.address} has no ${unlisted}, which its ${weights} lists.`);
  await fetchAll(shards);
}

/** @throws Florence2Error if the repository has an adapter in place of a checkpoint */
async function refuseAdapter(client: HubClient, commit: string, listed: ReadonlyMap<string, HubFile>): Promise<void> {
  const file = 'adapter_config.json';
  if (!listed.has(file) || listed.has('config.json')) return;
  const text = new TextDecoder().decode(await client.readSmall(commit, file));
  throw new Florence2Error(adapterAdvice(client.id, parseJsonObject(text, `${client.address}/${file}`)));
}

/** Returns the files that a snapshot does not have, or has with other content than the hub lists. */
async function changedFiles(
  snapshot: string,
  names: readonly string[],
  listed: ReadonlyMap<string, HubFile>,
): Promise<HubFile[]> {
  const files = names.flatMap(name => listed.get(name) ?? []);
  const sound = await Promise.all(files.map(({ path, etag, size }) => hasContent(join(snapshot, path), etag, size)));
  return files.filter((_, i) => !sound[i]);
}

const isOffline = (): boolean => /^(1|true|yes|on)$/i.test(process.env.HF_HUB_OFFLINE ?? '');

/** @throws UsageError if HF_ENDPOINT is not the address of a server */
function hubEndpoint(): string {
  const endpoint = (process.env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, '');
  if (/^https?:\/\/[^\s/]/.test(endpoint) && URL.canParse(endpoint)) return endpoint;
  throw new UsageError(`HF_ENDPOINT is "${endpoint}", expected the address of a hub such as https://huggingface.co.`);
}

/**
 * Returns the given token, or the one that the hub's own tools use.
 *
 * @throws Florence2Error if it has characters that no header can have
 */
async function accessToken(given?: string): Promise<string | undefined> {
  const { HF_TOKEN, HUGGING_FACE_HUB_TOKEN } = process.env;
  const token = (given || HF_TOKEN || HUGGING_FACE_HUB_TOKEN || (await storedToken())).trim();
  if (/^[\x21-\x7e]*$/.test(token)) return token || undefined;
  throw new Florence2Error('The hub token (HF_TOKEN) is not valid: it has spaces or characters other than ASCII.');
}

/** Returns the token that `hf auth login` stored; empty if there is none. */
function storedToken(): Promise<string> {
  const { HF_TOKEN_PATH, HF_HOME, XDG_CACHE_HOME } = process.env;
  const home = HF_HOME ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface');
  return readFile(HF_TOKEN_PATH ?? join(home, 'token'), 'utf8').catch(() => '');
}
