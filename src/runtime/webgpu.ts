import { Florence2Error } from '../errors.ts';
import { provideWebgpu } from '../platform/node.ts';

/** The part of WebGPU that is used here. */
interface Adapter {
  info?: { vendor?: string; architecture?: string; device?: string; description?: string; isFallbackAdapter?: boolean };
  isFallbackAdapter?: boolean;
}
interface Gpu {
  requestAdapter(options: { powerPreference: string }): Promise<Adapter | null>;
}

/**
 * Registers the webgpu backend and returns the adapter's description.
 *
 * @param software accepts a software adapter
 * @throws Florence2Error if WebGPU or an adapter is missing, or the only adapter is software and `software` is false
 */
export async function registerWebgpu(software: boolean): Promise<string> {
  await provideWebgpu();
  const { gpu } = globalThis.navigator as unknown as { gpu: Gpu };
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter)
    throw new Florence2Error('no GPU adapter was found. Is a graphics driver with Vulkan installed?', {
      code: 'BACKEND',
    });
  const description = describe(adapter);
  if (isSoftware(adapter) && !software)
    throw new Florence2Error(`the only adapter is software (${description}).`, { code: 'BACKEND' });
  await import('@tensorflow/tfjs-backend-webgpu');
  return description;
}

const isSoftware = (adapter: Adapter): boolean =>
  adapter.info?.isFallbackAdapter === true ||
  adapter.isFallbackAdapter === true ||
  /swiftshader|llvmpipe|lavapipe|basic render/i.test(describe(adapter));

function describe({ info }: Adapter): string {
  const parts = [info?.description || info?.device, [info?.vendor, info?.architecture].filter(Boolean).join(' ')];
  return parts.filter(Boolean).join(', ') || 'unnamed adapter';
}
