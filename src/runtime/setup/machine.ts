import { release } from 'node:os';
import { Florence2Error } from '../../errors.ts';
import type { Variant } from '../builds.ts';
import type { Machine } from './wheel.ts';

/** Returns a description of this machine. */
export function thisMachine(): Machine {
  const { platform, arch } = process;
  if (platform === 'linux') {
    const glibc = glibcVersion();
    return { platform, arch, ...(glibc !== undefined && { glibc }) };
  }
  // Darwin 20 is macOS 11, 24 is macOS 15, 25 is macOS 26.
  const darwin = Number(release().split('.')[0]);
  return platform === 'darwin'
    ? { platform, arch, macos: `${darwin < 25 ? darwin - 9 : darwin + 1}.0` }
    : { platform, arch };
}

function glibcVersion(): string | undefined {
  const report = process.report as NodeJS.ProcessReport & { excludeNetwork?: boolean };
  report.excludeNetwork = true; // otherwise the report resolves names of network interfaces, which can take seconds
  const { header } = report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return header?.glibcVersionRuntime;
}

/**
 * Returns the name of the PyPI project that has TensorFlow for a machine.
 * @throws Florence2Error if TensorFlow has no wheel for it that the binding can be linked to
 */
export function tensorflowProject(machine: Machine, variant: Variant): 'tensorflow' | 'tensorflow-cpu' {
  const { platform, arch, glibc } = machine;
  const here = `${platform} ${arch}`;
  const instead = 'Use the backend webgpu or wasm, which need no setup.';
  if (platform === 'linux' && glibc === undefined) {
    throw new Florence2Error(
      `TensorFlow requires the GNU C library, which this ${here} system lacks (is it musl?). ${instead}`,
      { code: 'SETUP' },
    );
  }
  const supported =
    variant === 'gpu'
      ? platform === 'linux' && arch === 'x64'
      : (platform === 'linux' && (arch === 'x64' || arch === 'arm64')) || (platform === 'darwin' && arch === 'arm64');
  if (!supported && variant === 'gpu') {
    throw new Florence2Error(
      `TensorFlow with CUDA is available for linux x64 only; this machine is ${here}. ${instead}`,
      { code: 'SETUP' },
    );
  }
  if (!supported) {
    throw new Florence2Error(
      `TensorFlow is available for linux x64, linux arm64 and darwin arm64; this machine is ${here}. ${instead}`,
      { code: 'SETUP' },
    );
  }
  return variant === 'cpu' && platform === 'linux' && arch === 'x64' ? 'tensorflow-cpu' : 'tensorflow';
}
