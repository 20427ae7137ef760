import { Command } from 'commander';
import type { DoctorFlags } from '../actions/doctor.ts';

/** `florence2 doctor`: the machine, and which backends work on it. */
export function doctorCommand(): Command {
  return new Command('doctor')
    .description('report the machine, and try every backend in a process of its own')
    .option('--json', 'as JSON')
    .addHelpText('after', '\nExit code 1 when no backend works.\n\nExample:\n  $ florence2 doctor --json > report.json')
    .action(async (flags: DoctorFlags) => {
      const { runDoctor } = await import('../actions/doctor.ts');
      await runDoctor(flags);
    });
}
