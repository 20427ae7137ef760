import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * Folders in which packages of Chromium and Chrome install SwiftShader, the software Vulkan driver for tests of webgpu.
 */
const folders = [
  '/usr/lib/chromium',
  '/usr/lib64/chromium-browser',
  '/usr/lib/chromium-browser',
  '/opt/google/chrome',
  '/opt/chromium',
];

/**
 * Returns the environment variables that make a new process use SwiftShader, or undefined if it is not installed
 * (Debian and Ubuntu: apt-get install chromium). FLORENCE2_SWIFTSHADER may name another vk_swiftshader_icd.json. Vulkan
 * reads the variables when it is loaded, so they must be set before the process starts.
 */
export function swiftshaderEnv(): Record<string, string> | undefined {
  const named = process.env.FLORENCE2_SWIFTSHADER;
  const driver = [...(named ? [named] : []), ...folders.map(folder => join(folder, 'vk_swiftshader_icd.json'))].find(
    existsSync,
  );
  if (!driver) return undefined;
  // Chromium also contains a Vulkan loader, for machines without one.
  const libraries = [process.env.LD_LIBRARY_PATH, dirname(driver)].filter(Boolean).join(':');
  return { VK_DRIVER_FILES: driver, VK_ICD_FILENAMES: driver, LD_LIBRARY_PATH: libraries };
}
