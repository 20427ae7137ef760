import { checkParity } from '../../parity/check.ts';
import type { BackendName } from '../../runtime/backend.ts';
import { finiteNumbers } from '../print/numbers.ts';
import { checkpointLines, parityLines } from '../print/parity.ts';
import { print } from '../print/terminal.ts';

/** Compares with PyTorch and prints the result checkpoint by checkpoint. The exit code is 1 if anything differs. */
export async function runParity(dir: string, { backend, training, json }: ParityFlags): Promise<void> {
  const report = await checkParity(dir, {
    backend,
    ...(training && { training }),
    ...(!json && { onCheckpoint: checkpoint => print(...checkpointLines(checkpoint)) }),
  });
  print(...(json ? [JSON.stringify(report, finiteNumbers, 1)] : parityLines(report)));
  if (!report.equal) process.exitCode = 1;
}

export interface ParityFlags {
  backend: BackendName | 'auto';
  training?: boolean;
  json?: boolean;
}
