import { cp, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { Florence2Error } from '../../errors.ts';
import { withRetries } from '../../files/network.ts';
import { makeFolder } from '../../files/write.ts';
import { TFJS_NODE_VERSION } from '../builds.ts';
import { download } from './download.ts';
import type { Http } from './http.ts';
import type { NpmConfig } from './npm_config.ts';
import { untar } from './unpack.ts';

/** A package version with the hash of its tarball, as in a lock file. */
export interface PinnedPackage {
  name: string;
  version: string;
  integrity: string;
}

export const tfjsNode: PinnedPackage = {
  name: '@tensorflow/tfjs-node',
  version: TFJS_NODE_VERSION,
  integrity: 'sha512-uHrXeUlfgkMxTZqHkESSV7zSdKdV0LlsBeblqkuKU9nnfxB1pC6DtoyYVaLxznzZy7WQSegjcohxxCjAf6Dc7w==',
};

/** The only dependency of tfjs-node that its kernels need. */
export const protobuf: PinnedPackage = {
  name: 'google-protobuf',
  version: '3.21.4',
  integrity: 'sha512-MnG7N936zcKTco4Jd2PX2U96Kf9PxygAPKBug+74LHzmHXmceN16MmRcdgZv+DGef/S9YvQAfRsNCn4cjf9yyQ==',
};

/** The headers of Node-API, which the binding is compiled with if Node's distribution has none. */
export const nodeHeaders: PinnedPackage = {
  name: 'node-api-headers',
  version: '1.9.0',
  integrity: 'sha512-2oNILP4jXwRB4ywnYKjVk1YyJ96n2D4EOVJO6S3oYZ5PtbJrw3Yt9TpAuX3nBLMuzn74rnfGQrv13pS9vC+YiA==',
};

/**
 * Copies a package into `folder`: from node_modules if this version is installed, else from the npm registry. Runs none
 * of its scripts. Returns the folder or URL that it came from.
 */
export async function placePackage(
  http: Http,
  config: NpmConfig,
  pinned: PinnedPackage,
  folder: string,
  downloads: string,
): Promise<string> {
  await makeFolder(dirname(folder));
  const installed = findInstalled(pinned);
  if (installed) {
    // Leaves out its node_modules and the outputs of its install script.
    const unwanted = new Set(['node_modules', 'deps', 'lib', 'build'].map(name => join(installed, name)));
    await cp(installed, folder, { recursive: true, dereference: true, filter: source => !unwanted.has(source) });
    return installed;
  }
  const url = await findTarball(http, config, pinned);
  const digest = Buffer.from(pinned.integrity.replace('sha512-', ''), 'base64').toString('hex');
  const file = `${pinned.name.replace('/', '-').replace('@', '')}-${pinned.version}.tgz`;
  const options = { headers: config.headers(url) };
  const path = await download(http, { file, url, hash: { algorithm: 'sha512', digest } }, downloads, options);
  await untar(await readFile(path), folder, file);
  await rm(path);
  return url;
}

function findInstalled({ name, version }: PinnedPackage): string | undefined {
  try {
    const manifest = createRequire(import.meta.url).resolve(`${name}/package.json`);
    return createRequire(manifest)(manifest).version === version ? dirname(manifest) : undefined;
  } catch {
    return undefined;
  }
}

/** Reads the tarball's URL from the registry, because mirrors use other paths than npmjs. */
async function findTarball(http: Http, config: NpmConfig, { name, version }: PinnedPackage): Promise<string> {
  const registry = config.registry(name);
  const url = registry + name.replace('/', '%2f');
  const accept = 'application/vnd.npm.install-v1+json, application/json;q=0.8';
  const document = await withRetries(async () => {
    const response = await http.get(url, { accept, ...config.headers(url) });
    return (await response.json()) as { versions?: Record<string, { dist?: { tarball?: string } }> };
  });
  const tarball = document.versions?.[version]?.dist?.tarball;
  if (!tarball) throw new Florence2Error(`The npm registry ${registry} has no ${name} ${version}.`, { code: 'SETUP' });
  return tarball;
}
