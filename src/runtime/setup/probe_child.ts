/** The child process of probe.ts: starts the backend that its argument names and prints one line of JSON. */
import { writeSync } from 'node:fs';
import { type BackendName, useBackend } from '../backend.ts';
import { answerMark, type ProbeOutcome } from './probe.ts';

const requested = process.argv[2] as BackendName | 'auto';
const answer: ProbeOutcome = await useBackend(requested).then(
  ({ name, description }) => ({ works: true, description, ...(requested === 'auto' && { chosen: name }) }),
  (error: unknown) => ({
    works: false,
    description: (error instanceof Error ? error.message : String(error)).replace(/^Backend \w+ cannot run here: /, ''),
  }),
);
writeSync(1, `${answerMark}${JSON.stringify(answer)}\n`);
// Some drivers keep threads alive or crash during a normal exit. The answer is already written.
process.kill(process.pid, 'SIGKILL');
