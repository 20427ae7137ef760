import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { Florence2Error, UsageError } from '../../errors.ts';
import { openFolder } from '../../platform/node.ts';
import { shardNames, weightFiles } from '../../weights/checkpoint.ts';
import { tokenizerFiles } from '../tokenizer_files.ts';
import { absentFiles, exists, isCommit, RepoCache } from './cache.ts';
import { HubClient, HubError, type HubFile } from './client.ts';
import { downloadFile } from './download.ts';

export interface HubOptions {
  /** Branch, tag or commit. Default `main`. */
  revision?: string;
  /** Default: HF_TOKEN, else what `hf auth login` has stored. */
  token?: string;
  /** Bytes of all files that are being downloaded. */
  onProgress?: (progress: { stage: 'download'; file: string; loaded: number; total: number }) => void;
  /** First pause before another try, in milliseconds; it doubles. Default 500. */
  retryDelay?: number;
}

/** What a model needs besides weights, where the repository has it. */
const smallFiles = [
  ...['config.json', 'generation_config.json', 'preprocessor_config.json', 'processor_config.json'],
  ...tokenizerFiles,
];

/**
 * Downloads a model of the hub into the Hugging Face cache, where its files are missing, and returns their folder.
 * HF_HOME or HF_HUB_CACHE set the cache's place, HF_ENDPOINT the hub, HF_TOKEN the token; HF_HUB_OFFLINE=1 forbids
 * requests. Without a connection a complete download in the cache is used.
 *
 * @param id an id such as `microsoft/Florence-2-base`
 * @throws Florence2Error that says what is missing, or why the hub refuses; UsageError for a malformed revision
 */
export async function downloadModel(id: string, options: HubOptions = {}): Promise<string> {
  const revision = options.revision ?? 'main';
  if (!/^[\w.-]+(\/[\w.-]+)*$/.test(revision) || revision.split('/').includes('..')) {
    throw new UsageError(`"${revision}" is not the name of a revision.`);
  }
  const hub = await import('@huggingface/hub');
  const folder = join(hub.getHFHubCachePath(), hub.getRepoFolderName({ type: 'model', name: id }));
  const cache = new RepoCache(folder);
  const cached = await cache.completeSnapshot(revision);
  if (cached && (isCommit(revision) || isOffline())) return cached;
  if (isOffline()) {
    throw new Florence2Error(
      `"${id}" is not a folder here, and its revision ${revision} is not in the cache ${folder}; HF_HUB_OFFLINE forbids to download it.`,
    );
  }
  const endpoint = (process.env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, '');
  const token = options.token ?? (await storedToken());
  if (token && !token.startsWith('hf_')) {
    throw new Florence2Error('The token for the hub (HF_TOKEN) is wrong: tokens begin with "hf_".');
  }
  const client = new HubClient(hub, id, { endpoint, token, retryDelay: options.retryDelay ?? 500 });
  try {
    const commit = isCommit(revision) ? revision : await client.commitOf(revision);
    await download(client, commit, cache, options.onProgress);
    await cache.setRef(revision, commit);
    return cache.snapshot(commit);
  } catch (error) {
    if (cached && error instanceof HubError && (error.unreachable || error.passing)) return cached;
    throw error;
  } finally {
    await client.close();
  }
}

/** Small files first and weights last: a snapshot that has weights is complete. */
async function download(
  client: HubClient,
  commit: string,
  cache: RepoCache,
  onProgress: HubOptions['onProgress'],
): Promise<void> {
  const snapshot = cache.snapshot(commit);
  const listed = new Map((await client.files(commit)).map(file => [file.path, file]));
  const weights = weightFiles.find(name => listed.has(name));
  if (!listed.has('config.json') || !weights) {
    const lacks = weights ? 'config.json' : 'model.safetensors or pytorch_model.bin';
    throw new Florence2Error(
      `${client.access.endpoint}/${client.id} has no ${lacks}: it is not a Florence-2 checkpoint.`,
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
  /** Files that the snapshot does not have yet. */
  const absent = async (names: string[]): Promise<HubFile[]> =>
    (await absentFiles(snapshot, names)).flatMap(name => listed.get(name) ?? []);
  await fetchAll(await absent([...smallFiles, weights]));
  if (!weights.endsWith('.index.json')) return;
  const shards = (await shardNames(openFolder(snapshot), weights)) ?? [];
  const unlisted = shards.find(name => !listed.has(name));
  if (unlisted)
    throw new Florence2Error(`${client.access.endpoint}/${client.id} has no ${unlisted}, which its ${weights} names.`);
  await fetchAll(await absent(shards));
}

const isOffline = (): boolean => /^(1|true|yes|on)$/i.test(process.env.HF_HUB_OFFLINE ?? '');

/** Where the hub's own tools keep a token. */
async function storedToken(): Promise<string | undefined> {
  const { HF_TOKEN, HF_TOKEN_PATH, HF_HOME, XDG_CACHE_HOME } = process.env;
  if (HF_TOKEN) return HF_TOKEN.trim();
  const home = HF_HOME ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface');
  const text = await readFile(HF_TOKEN_PATH ?? join(home, 'token'), 'utf8').catch(() => '');
  return text.trim() || undefined;
}
