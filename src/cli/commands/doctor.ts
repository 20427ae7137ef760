import { Command } from 'commander';
import type { DoctorFlags } from '../actions/doctor.ts';

/** `florence2 doctor`: reports the machine and the backends that work on it. */
export function doctorCommand(): Command {
  return new Command('doctor')
    .description('report the machine and test every backend, each in its own process')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExit code 1 if no backend works.\n\nExample:\n  $ florence2 doctor --json > report.json')
    .action(async (flags: DoctorFlags) => {
      const { runDoctor } = await import('../actions/doctor.ts');
      await runDoctor(flags);
    });
}
