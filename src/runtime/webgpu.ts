import { Florence2Error } from '../errors.ts';
import { isNode } from './platform.ts';

/** The part of WebGPU that is asked here. */
interface Adapter {
  info?: { vendor?: string; architecture?: string; device?: string; description?: string; isFallbackAdapter?: boolean };
  isFallbackAdapter?: boolean;
}
interface Gpu {
  requestAdapter(options: { powerPreference: string }): Promise<Adapter | null>;
}

/**
 * Registers the webgpu backend and returns the adapter's description. Node has no WebGPU of its own: the npm package
 * `webgpu` (Dawn) brings it.
 *
 * @throws Florence2Error when there is no adapter, or only a software one and `software` is false.
 */
export async function registerWebgpu(software: boolean): Promise<string> {
  if (isNode) await installDawn();
  const gpu = (globalThis.navigator as { gpu?: Gpu } | undefined)?.gpu;
  if (!gpu) throw new Florence2Error('this browser has no WebGPU.');
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) throw new Florence2Error('no GPU adapter was found: is a graphics driver with Vulkan installed?');
  const description = describe(adapter);
  if (isSoftware(adapter) && !software) throw new Florence2Error(`its only adapter is software (${description}).`);
  await import('@tensorflow/tfjs-backend-webgpu');
  return description;
}

/** Gives Node the globals and `navigator.gpu` that the backend expects of a browser. Does nothing the second time. */
async function installDawn(): Promise<void> {
  if ((globalThis.navigator as { gpu?: Gpu } | undefined)?.gpu) return;
  const dawn = await import('webgpu').catch(error => {
    const missing = (error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND';
    throw new Florence2Error(
      missing
        ? 'the package "webgpu" is not installed: npm install webgpu'
        : `"webgpu" does not load: ${error.message}`,
    );
  });
  if (process.platform === 'linux' && !hasVulkanLoader()) {
    throw new Florence2Error('libvulkan.so.1 is missing: install the Vulkan loader (Debian and Ubuntu: libvulkan1).');
  }
  Object.assign(globalThis, dawn.globals);
  if (!globalThis.navigator) Object.defineProperty(globalThis, 'navigator', { value: {}, configurable: true });
  Object.defineProperty(globalThis.navigator, 'gpu', { value: dawn.create([]), configurable: true });
}

/** Dawn itself would say so on stderr. Loading a library that is no addon fails too, but with another message. */
function hasVulkanLoader(): boolean {
  try {
    process.dlopen({ exports: {} }, 'libvulkan.so.1');
  } catch (error) {
    return !(error as Error).message.includes('cannot open shared object file');
  }
  return true;
}

const isSoftware = (adapter: Adapter): boolean =>
  adapter.info?.isFallbackAdapter === true ||
  adapter.isFallbackAdapter === true ||
  /swiftshader|llvmpipe|lavapipe|basic render/i.test(describe(adapter));

function describe({ info }: Adapter): string {
  const parts = [info?.description || info?.device, [info?.vendor, info?.architecture].filter(Boolean).join(' ')];
  return parts.filter(Boolean).join(', ') || 'unnamed adapter';
}
