import { Command } from 'commander';
import type { DoctorFlags } from '../actions/doctor.ts';

/** `florence2 doctor`: reports the machine and the backends that work on it. */
export function doctorCommand(): Command {
  return new Command('doctor')
    .summary('report the machine and test every backend')
    .description(
      'Reports versions, the machine and the caches, and tests every backend in its own process. Include the output in ' +
        'bug reports. Exit code 1 if no backend works.',
    )
    .option('--json', 'print JSON')
    .addHelpText('after', EXAMPLES)
    .action(async (flags: DoctorFlags) => {
      const { runDoctor } = await import('../actions/doctor.ts');
      await runDoctor(flags);
    });
}

const EXAMPLES = `
Examples:
  $ florence2 doctor
  $ florence2 doctor --json > report.json`;
