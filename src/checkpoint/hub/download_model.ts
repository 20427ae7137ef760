import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { Florence2Error, UsageError } from '../../errors.ts';
import { openFolder } from '../../platform/node.ts';
import { CALIBRATION_FILE } from '../../results/calibration.ts';
import { shardNames, WEIGHT_FILES } from '../../weights/checkpoint.ts';
import { TOKENIZER_FILES } from '../tokenizer_files.ts';
import { absentFiles, exists, isCommit, RepoCache } from './cache.ts';
import { HubClient, HubError, type HubFile } from './client.ts';
import { downloadFile } from './download.ts';

/** Options of a download from the Hugging Face hub. */
export interface HubOptions {
  /** Branch, tag or commit. Default `main`. */
  revision?: string;
  /** Access token. Default: HF_TOKEN, or the token that `hf auth login` stored. */
  token?: string;
  /** Called with the bytes loaded and the total of all files of the download. */
  onProgress?: (progress: { stage: 'download'; file: string; loaded: number; total: number }) => void;
  /** Pause before the first retry, in milliseconds. It doubles with each retry. Default 500. */
  retryDelay?: number;
}

/** The files of a model apart from the weights. Those that the repository has are downloaded. */
const SMALL_FILES = [
  ...['config.json', 'generation_config.json', 'preprocessor_config.json', 'processor_config.json'],
  CALIBRATION_FILE,
  ...TOKENIZER_FILES,
];

/**
 * Downloads the missing files of a hub model into the Hugging Face cache and returns their folder. HF_HOME or
 * HF_HUB_CACHE set the folder of the cache, HF_ENDPOINT the hub, HF_TOKEN the token. With HF_HUB_OFFLINE=1 no request
 * is sent. If the hub cannot be reached, an earlier complete download is used.
 *
 * @param id an id such as `microsoft/Florence-2-base`
 * @throws Florence2Error saying what is missing or why the hub refused; UsageError for a malformed revision
 */
export async function downloadModel(id: string, options: HubOptions = {}): Promise<string> {
  const revision = options.revision ?? 'main';
  if (!/^[\w.-]+(\/[\w.-]+)*$/.test(revision) || revision.split('/').includes('..')) {
    throw new UsageError(`"${revision}" is not a valid revision.`);
  }
  const hub = await import('@huggingface/hub');
  const folder = join(hub.getHFHubCachePath(), hub.getRepoFolderName({ type: 'model', name: id }));
  const cache = new RepoCache(folder);
  const cached = await cache.completeSnapshot(revision);
  if (cached && (isCommit(revision) || isOffline())) return cached;
  if (isOffline()) {
    throw new Florence2Error(
      `"${id}" is not a folder, and revision ${revision} of the hub model is not in the cache ${folder}; HF_HUB_OFFLINE forbids downloading it.`,
      { code: 'FILE_NOT_FOUND' },
    );
  }
  const endpoint = (process.env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, '');
  const token = options.token ?? (await storedToken());
  if (token && !token.startsWith('hf_')) {
    throw new Florence2Error('The hub token (HF_TOKEN) is not valid: tokens start with "hf_".');
  }
  const client = new HubClient(hub, id, { endpoint, token, retryDelay: options.retryDelay ?? 500 });
  try {
    const commit = isCommit(revision) ? revision : await client.commitOf(revision);
    await download(client, commit, cache, options.onProgress);
    await cache.setRef(revision, commit);
    return cache.snapshot(commit);
  } catch (error) {
    if (cached && error instanceof HubError && (error.unreachable || error.transient)) return cached;
    throw error;
  } finally {
    await client.close();
  }
}

/** Downloads small files first and weights last, so that a snapshot with weights is complete. */
async function download(
  client: HubClient,
  commit: string,
  cache: RepoCache,
  onProgress: HubOptions['onProgress'],
): Promise<void> {
  const snapshot = cache.snapshot(commit);
  const listed = new Map((await client.files(commit)).map(file => [file.path, file]));
  const weights = WEIGHT_FILES.find(name => listed.has(name));
  if (!listed.has('config.json') || !weights) {
    const lacks = weights ? 'config.json' : 'model.safetensors or pytorch_model.bin';
    throw new Florence2Error(
      `${client.access.endpoint}/${client.id} has no ${lacks}, so it is not a Florence-2 checkpoint.`,
    );
  }
  const fetchAll = async (files: HubFile[]): Promise<void> => {
    const total = files.reduce((bytes, { size }) => bytes + size, 0);
    let before = 0;
    for (const file of files) {
      const report = (loaded: number) =>
        onProgress?.({ stage: 'download', file: file.path, loaded: before + loaded, total });
      if (!(await exists(cache.blob(file.etag))))
        await downloadFile(client, commit, file, cache.blob(file.etag), report);
      await cache.link(file.etag, commit, file.path);
      before += file.size;
    }
  };
  /** Returns the files that the snapshot lacks. */
  const absent = async (names: string[]): Promise<HubFile[]> =>
    (await absentFiles(snapshot, names)).flatMap(name => listed.get(name) ?? []);
  await fetchAll(await absent([...SMALL_FILES, weights]));
  if (!weights.endsWith('.index.json')) return;
  const shards = (await shardNames(openFolder(snapshot), weights)) ?? [];
  const unlisted = shards.find(name => !listed.has(name));
  if (unlisted)
    throw new Florence2Error(`${client.access.endpoint}/${client.id} has no ${unlisted}, which its ${weights} lists.`);
  await fetchAll(await absent(shards));
}

const isOffline = (): boolean => /^(1|true|yes|on)$/i.test(process.env.HF_HUB_OFFLINE ?? '');

/** Returns the token that the hub's own tools use. */
async function storedToken(): Promise<string | undefined> {
  const { HF_TOKEN, HF_TOKEN_PATH, HF_HOME, XDG_CACHE_HOME } = process.env;
  if (HF_TOKEN) return HF_TOKEN.trim();
  const home = HF_HOME ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface');
  const text = await readFile(HF_TOKEN_PATH ?? join(home, 'token'), 'utf8').catch(() => '');
  return text.trim() || undefined;
}
