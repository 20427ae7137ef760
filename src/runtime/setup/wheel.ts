import { compareVersions } from '../builds.ts';

/** The parts of a wheel's file name: name-version(-build)-python-abi-platform.whl. */
export interface WheelName {
  project: string;
  version: string;
  python: string;
  platforms: string[];
}

export function parseWheelName(file: string): WheelName | undefined {
  const match = /^([^-/\\]+)-([^-/\\]+)(?:-\d[^-/\\]*)?-([^-/\\]+)-([^-/\\]+)-([^-/\\]+)\.whl$/.exec(file);
  if (!match) return undefined;
  const [, project, version, python, , platforms] = match;
  return { project: normalise(project!), version: version!, python: python!, platforms: platforms!.split('.') };
}

/** Returns a project's name as indexes spell it. */
export const normalise = (project: string) => project.toLowerCase().replace(/[-_.]+/g, '-');

/** The machine that a wheel's libraries must run on. */
export interface Machine {
  platform: NodeJS.Platform;
  arch: string;
  /** Linux: version of the GNU C library; undefined with another C library (musl). */
  glibc?: string;
  /** macOS: its version. */
  macos?: string;
}

const legacyManylinux: Record<string, string> = { manylinux1: '2.5', manylinux2010: '2.12', manylinux2014: '2.17' };

/** Returns whether a machine can load the libraries of a wheel with this platform tag. */
export function runsOn(tag: string, machine: Machine): boolean {
  if (tag === 'any') return true;
  const linux = /^(manylinux\w*?)(?:_(\d+)_(\d+))?_(x86_64|aarch64)$/.exec(tag);
  if (linux && machine.platform === 'linux' && machine.glibc !== undefined) {
    const [, name, major, minor, arch] = linux;
    const needed = major === undefined ? legacyManylinux[name!] : `${major}.${minor}`;
    return arch === archTag(machine) && needed !== undefined && compareVersions(needed, machine.glibc) <= 0;
  }
  const mac = /^macosx_(\d+)_(\d+)_(x86_64|arm64|universal2)$/.exec(tag);
  if (mac && machine.platform === 'darwin' && machine.macos !== undefined) {
    const [, major, minor, arch] = mac;
    const fits = arch === 'universal2' || arch === archTag(machine);
    return fits && compareVersions(`${major}.${minor}`, machine.macos) <= 0;
  }
  return false;
}

function archTag({ platform, arch }: Machine): string {
  if (arch === 'x64') return 'x86_64';
  return arch === 'arm64' && platform === 'linux' ? 'aarch64' : arch;
}

/** Returns whether a version satisfies a requirement such as `<13.0,>=12.5.3.2`. Pre-releases never do. */
export function satisfies(version: string, specifier: string): boolean {
  if (!/^\d+(\.\d+)*(\.post\d+)?$/.test(version)) return false;
  const number = version.replace('.post', '.');
  return specifier
    .split(',')
    .map(part => part.trim())
    .filter(Boolean)
    .every(part => {
      const [, operator, bound] = /^(<=|>=|==|!=|~=|<|>)\s*(\S+)$/.exec(part) ?? [];
      if (operator === undefined) throw new Error(`Unknown version requirement "${part}".`);
      if (bound!.endsWith('.*')) {
        const within = `${number}.`.startsWith(bound!.slice(0, -1));
        return operator === '!=' ? !within : within;
      }
      const order = compareVersions(number, bound!);
      if (operator === '~=') return order >= 0 && `${number}.`.startsWith(bound!.replace(/[^.]+$/, ''));
      return {
        '<=': order <= 0,
        '>=': order >= 0,
        '==': order === 0,
        '!=': order !== 0,
        '<': order < 0,
        '>': order > 0,
      }[operator as '<='];
    });
}
