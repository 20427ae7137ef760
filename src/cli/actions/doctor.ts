import { bf16Ratio, type ProductTimes } from '../../runtime/product_times.ts';
import { type Diagnosis, diagnose } from '../../runtime/setup/doctor.ts';
import type { Probe } from '../../runtime/setup/probe.ts';
import { print } from '../print/terminal.ts';

export interface DoctorFlags {
  json?: boolean;
}

/** Prints the diagnosis. The exit code is 1 if no backend works. */
export async function runDoctor({ json }: DoctorFlags): Promise<void> {
  const diagnosis = await diagnose();
  print(json ? JSON.stringify(diagnosis, null, 2) : formatDiagnosis(diagnosis));
  if (!diagnosis.auto.works) process.exitCode = 1;
}

/** Returns the report as text: one aligned line per fact. */
export function formatDiagnosis(diagnosis: Diagnosis): string {
  const { system, backends, auto, tensorflow, products, caches } = diagnosis;
  const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`;
  const libc = system.glibc === undefined ? '' : `, glibc ${system.glibc}`;
  const rows: [string, string][] = [
    ['florence2-tfjs', `${diagnosis.package}, TensorFlow.js ${diagnosis.tfjs}, Node ${diagnosis.node}`],
    ['system', `${system.platform} ${system.arch} ${system.release}${libc}`],
    ['processor', `${system.cpu}, ${system.cores} cores`],
    ['memory', `${gigabytes(system.memory.total)}, ${gigabytes(system.memory.free)} free`],
    ['NVIDIA driver', system.nvidiaDriver ?? 'none'],
    ['C++ compiler', system.compiler],
    ...backends.map((probe): [string, string] => [probe.name, formatProbe(probe)]),
    ['auto', auto.works ? `uses ${auto.chosen}` : formatProbe(auto)],
    ...tensorflow.map(({ tensorflow, variant, cuda, folder, bytes }): [string, string] => [
      `TensorFlow (${variant})`,
      [
        `${tensorflow}, ${gigabytes(bytes)}, ${folder}`,
        ...Object.entries(cuda).map(([name, version]) => `${name} ${version}`),
      ].join(`\n${' '.repeat(20)}`),
    ]),
    ['precision', products ? formatProducts(products) : 'not measured: run "florence2 setup tensorflow"'],
    ...caches.map(({ name, folder, exists, bytes }): [string, string] => [
      `${name} cache`,
      exists ? `${gigabytes(bytes)}, ${folder}` : `does not exist yet: ${folder}`,
    ]),
  ];
  return rows.map(([label, text]) => `${label.padEnd(19)} ${text}`).join('\n');
}

/** One line per product, then all of them together. */
function formatProducts(times: ProductTimes): string {
  const milliseconds = (time: number) => `${time.toFixed(1)} ms`.padStart(9);
  const lines = times.products.map(({ shape: [rows, inner, columns], fp32, bf16 }) => {
    return `${`${rows}×${inner}×${columns}`.padEnd(14)} fp32 ${milliseconds(fp32)}   bf16 ${milliseconds(bf16)}`;
  });
  return [...lines, `bf16 takes ${bf16Ratio(times).toFixed(2)} of the time of fp32`].join(`\n${' '.repeat(20)}`);
}

const formatProbe = ({ works, description, seconds }: Probe) =>
  works ? `works: ${description} (${seconds.toFixed(1)} s)` : `does not work: ${description}`;
