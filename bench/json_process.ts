import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { Florence2Error } from '../src/errors.ts';

/** A process that answers each line on its stdin with a line of JSON. */
export class JsonProcess {
  private readonly lines: AsyncIterator<string>;

  private constructor(
    private readonly command: string,
    private readonly child: ChildProcess,
  ) {
    this.lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  }

  /** Starts a process. Resolves with its first line, which it prints when it is ready. */
  static async start<Hello>(command: string, args: string[]): Promise<{ process: JsonProcess; hello: Hello }> {
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    try {
      await once(child, 'spawn');
    } catch (error) {
      throw new Florence2Error(`Cannot run ${command}: ${(error as Error).message}.`);
    }
    const process = new JsonProcess([command, ...args].join(' '), child);
    return { process, hello: await process.read() };
  }

  ask<Answer>(line: string): Promise<Answer> {
    this.child.stdin!.write(`${line}\n`);
    return this.read();
  }

  /** Closes its stdin and returns its last line. */
  end<Answer>(): Promise<Answer> {
    this.child.stdin!.end();
    return this.read();
  }

  private async read<Answer>(): Promise<Answer> {
    const { value, done } = await this.lines.next();
    if (done) throw new Florence2Error(`${this.command} exited without an answer.`);
    return JSON.parse(value);
  }
}
