/** A program that stays and is asked one question after the other: a line of JSON in, a line of JSON out. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';

/** How it is started. */
export interface ResidentOptions {
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
}

/** Started at once. It ends by itself when its standard input is closed. */
export class Resident implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  readonly #lines: Interface;
  #said = '';

  constructor(file: string, args: readonly string[], { env, cwd }: ResidentOptions) {
    const child = spawn(file, args, { env, cwd, stdio: ['pipe', 'pipe', 'pipe'] });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#said = (this.#said + text).slice(-errorKeptCharacters);
    });
    // Whoever asks hears of its end.
    child.stdin.on('error', () => undefined);
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout });
    this.#answers = this.#lines[Symbol.asyncIterator]();
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error(`${this.#child.spawnfile} was not started`);
    return this.#child.pid;
  }

  /** @throws Error with what it said on stderr when it has ended */
  async ask(question: unknown): Promise<unknown> {
    this.#child.stdin?.write(`${JSON.stringify(question)}\n`);
    const answer = await this.#answers.next();
    if (answer.done === true) throw new Error(`${this.#child.spawnargs.join(' ')} ended: ${this.#said.trim()}`);
    return JSON.parse(answer.value) as unknown;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#lines.close();
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.stdin?.end();
    await ended;
  }
}

const errorKeptCharacters = 4000;
