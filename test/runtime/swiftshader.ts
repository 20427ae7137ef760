import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Where packages of Chromium and Chrome put SwiftShader, the software Vulkan driver that webgpu is tested on. */
const folders = [
  '/usr/lib/chromium',
  '/usr/lib64/chromium-browser',
  '/usr/lib/chromium-browser',
  '/opt/google/chrome',
  '/opt/chromium',
];

/**
 * The environment in which a new process finds SwiftShader, or undefined where it is not installed
 * (Debian and Ubuntu: apt-get install chromium). FLORENCE2_SWIFTSHADER names another vk_swiftshader_icd.json.
 * Vulkan reads it when it is loaded: it must be set before the process starts.
 */
export function swiftshaderEnv(): Record<string, string> | undefined {
  const named = process.env.FLORENCE2_SWIFTSHADER;
  const driver = [...(named ? [named] : []), ...folders.map(folder => join(folder, 'vk_swiftshader_icd.json'))].find(
    existsSync,
  );
  if (!driver) return undefined;
  // Chromium ships a Vulkan loader too, for machines that have none.
  const libraries = [process.env.LD_LIBRARY_PATH, dirname(driver)].filter(Boolean).join(':');
  return { VK_DRIVER_FILES: driver, VK_ICD_FILENAMES: driver, LD_LIBRARY_PATH: libraries };
}
