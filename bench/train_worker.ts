import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { Florence2Error } from '../src/errors.ts';

export interface Step {
  loss: number;
  seconds: number;
}

type Message = { ready: true } | Step | { peakRss: number };

/** A process that takes a training step when it is told to, and waits otherwise. */
export class Worker {
  private readonly lines: AsyncIterator<string>;

  private constructor(
    private readonly command: string,
    private readonly process: ChildProcess,
  ) {
    this.lines = createInterface({ input: process.stdout! })[Symbol.asyncIterator]();
  }

  /** Starts it and waits until it has loaded its model. */
  static async start(command: string, args: string[]): Promise<Worker> {
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    try {
      await once(child, 'spawn');
    } catch (error) {
      throw new Florence2Error(`${command} cannot be run: ${(error as Error).message}.`);
    }
    const worker = new Worker([command, ...args].join(' '), child);
    await worker.read();
    return worker;
  }

  async step(): Promise<Step> {
    this.process.stdin!.write('\n');
    return (await this.read()) as Step;
  }

  /** Ends it. Returns its peak RSS in MB. */
  async end(): Promise<number> {
    this.process.stdin!.end();
    return ((await this.read()) as { peakRss: number }).peakRss;
  }

  private async read(): Promise<Message> {
    const { value, done } = await this.lines.next();
    if (done) throw new Florence2Error(`${this.command} has ended.`);
    return JSON.parse(value);
  }
}
