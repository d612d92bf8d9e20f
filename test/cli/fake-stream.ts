/** Standard output and error in a test: remembers what was written. */
import { PassThrough } from 'node:stream';

/** A stream, and all that was written to it. */
export interface FakeStream {
  readonly stream: NodeJS.WriteStream;
  text(): string;
}

/** Makes one; `isTerminal` is what isTTY says. */
export function fakeStream(isTerminal: boolean): FakeStream {
  const written: string[] = [];
  const through = new PassThrough();
  through.on('data', (chunk: Buffer) => written.push(chunk.toString()));
  const stream = Object.assign(through, { isTTY: isTerminal, columns: 80 }) as unknown as NodeJS.WriteStream;
  return { stream, text: () => written.join('') };
}
