/** The child process of probe.ts: starts the backend named by its argument and answers with one line. */
import { writeSync } from 'node:fs';
import { type BackendName, useBackend } from './backend.ts';
import { answerMark } from './probe.ts';

const answer = await useBackend(process.argv[2] as BackendName).then(
  ({ description }) => ({ works: true, description }),
  (error: unknown) => ({
    works: false,
    description: (error instanceof Error ? error.message : String(error)).replace(/^Backend \w+ cannot run here: /, ''),
  }),
);
writeSync(1, `${answerMark}${JSON.stringify(answer)}\n`);
// Some drivers keep threads alive, or crash when the process ends in order. The answer is out.
process.kill(process.pid, 'SIGKILL');
