import { Florence2Error } from '../../errors.ts';
import type { Wanted } from './package_index.ts';
import { readZipText } from './unpack.ts';

const pluggable = 'tensorflow/core/common_runtime/next_pluggable_device/c';

/** Selects from TensorFlow's wheel the two libraries and the headers of the C API, including their dependencies. */
export function tensorflowPlace(name: string): string | undefined {
  if (/^tensorflow\/libtensorflow_(cc|framework)\.(so\.2|2\.dylib)$/.test(name)) return `site/${name}`;
  const headers = ['tensorflow/c', 'tensorflow/core/platform', pluggable, 'tsl/platform', 'xla/tsl/c'];
  const needed = name.endsWith('.h') && headers.some(folder => name.startsWith(`tensorflow/include/${folder}/`));
  return needed ? `headers/${name}` : undefined;
}

/**
 * Reads the CUDA wheels that a TensorFlow wheel requires from its metadata: the extra `and-cuda`, with lines such as
 * `Requires-Dist: nvidia-cublas-cu12<13.0,>=12.5.3.2; extra == "and-cuda"`.
 */
export async function cudaRequirements(wheel: string): Promise<Wanted[]> {
  const metadata = await readZipText(wheel, name => /^[^/]+\.dist-info\/METADATA$/.test(name));
  const wanted = (metadata ?? '').split(/\r?\n/).flatMap(line => {
    const match = /^Requires-Dist: *([\w.-]+?) *(?:\[[^\]]*\])? *\(?([<>=!~][^;)]*)?\)? *;(.*)$/.exec(line);
    if (!match || !/extra *== *["']and-cuda["']/.test(match[3]!)) return [];
    return [{ project: match[1]!, requirement: (match[2] ?? '').trim() }];
  });
  if (wanted.length === 0)
    throw new Florence2Error(`${wheel} lists no CUDA libraries: its metadata has no extra "and-cuda".`, {
      code: 'SETUP',
    });
  return wanted;
}

/** Selects from a CUDA wheel the libraries, and the programs and bitcode that TensorFlow compiles GPU kernels with. */
export function cudaPlace(name: string): string | undefined {
  const needed = /^nvidia\/[^/]+\/(lib|bin|nvvm)\//.test(name) && !/\.(py|a|h)$/.test(name);
  return needed ? name : undefined;
}
