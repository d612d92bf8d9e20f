import { PassThrough } from 'node:stream';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createOutput, errorDocument, formatBytes, formatDuration, printError, renderTable } from '../../src/cli/output.ts';
import { WalkbackError } from '../../src/domain/errors.ts';
import { fakeStream } from './fake-stream.ts';

function outputTo(options: { readonly json: boolean; readonly isTerminal?: boolean }) {
  const stdout = fakeStream(false);
  const stderr = fakeStream(options.isTerminal === true);
  return { output: createOutput({ json: options.json, stdout: stdout.stream, stderr: stderr.stream }), stdout, stderr };
}

describe('createOutput', () => {
  it('answer prints the text, or the document alone when --json is given', () => {
    const text = outputTo({ json: false });
    text.output.answer({ ok: true }, 'done');
    expect(text.stdout.text()).toBe('done\n');
    const json = outputTo({ json: true });
    json.output.answer({ ok: true }, 'done');
    expect(JSON.parse(json.stdout.text())).toEqual({ ok: true });
  });

  it('note and progress go to stderr only', () => {
    const { output, stdout, stderr } = outputTo({ json: true, isTerminal: true });
    output.note('a remark');
    output.progress('half way');
    expect(stdout.text()).toBe('');
    expect(stderr.text()).toContain('a remark\n');
    expect(stderr.text()).toContain('half way');
  });

  it('progress replaces its line on a terminal and is silent on a pipe', () => {
    const terminal = outputTo({ json: false, isTerminal: true });
    terminal.output.progress('1 of 2');
    terminal.output.progress('2 of 2');
    expect(terminal.stderr.text()).toBe('\r\u001B[2K1 of 2\r\u001B[2K2 of 2');
    const pipe = outputTo({ json: false });
    pipe.output.progress('1 of 2');
    pipe.output.note('done');
    expect(pipe.stderr.text()).toBe('done\n');
  });

  it('progress is cut to the width of the terminal, so that it stays one line', () => {
    const { output, stderr } = outputTo({ json: false, isTerminal: true });
    output.progress('x'.repeat(500));
    expect(stderr.text().replace('\r\u001B[2K', '')).toBe('x'.repeat(79));
  });
});

describe('printError', () => {
  it('printError says what failed and what to try, and gives the exit code of the category', () => {
    const { output, stdout, stderr } = outputTo({ json: false });
    const exitCode = printError(new WalkbackError('PORT_IN_USE', 'Port 5433 is taken.'), output);
    expect([exitCode, stdout.text(), stderr.text()]).toEqual([3, '', 'walkback: Port 5433 is taken.\nTry: Choose a free port.\n']);
  });

  it('printError prints the document too when --json is given', () => {
    const { output, stdout } = outputTo({ json: true });
    const error = new WalkbackError('PORT_IN_USE', 'Port 5433 is taken.', { facts: { port: 5433 } });
    printError(error, output);
    expect(JSON.parse(stdout.text())).toEqual(errorDocument(error));
    expect(errorDocument(error)).toEqual({
      ok: false,
      error: { code: 'PORT_IN_USE', message: 'Port 5433 is taken.', hint: 'Choose a free port.', facts: { port: 5433 } },
    });
  });

  it('printError takes what is not ours for INTERNAL', () => {
    const { output, stderr } = outputTo({ json: false });
    expect(printError(new TypeError('undefined is not a function'), output)).toBe(1);
    expect(stderr.text()).toContain('undefined is not a function');
    expect(printError('a text', outputTo({ json: false }).output)).toBe(1);
  });
});

describe('renderTable', () => {
  it('renderTable aligns columns by their widest cell and leaves no blanks at the end of a line', () => {
    const cell = fc.stringMatching(/^[a-z]{0,8}$/);
    fc.assert(
      fc.property(fc.array(fc.tuple(cell, cell), { maxLength: 5 }), (rows) => {
        const lines = renderTable(['A', 'B'], rows).split('\n');
        const width = Math.max(1, ...rows.map(([first]) => first.length));
        expect(lines).toEqual([['A', 'B'] as const, ...rows].map(([first, second]) => `${first.padEnd(width)}  ${second}`.trimEnd()));
      }),
    );
  });
});

describe('formatBytes and formatDuration', () => {
  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1.0 KiB'],
    [3_435_973_837, '3.2 GiB'],
    [2 ** 60, '1048576.0 TiB'],
  ])('formatBytes makes %d to %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });

  it.each([
    [0, '0.0 s'],
    [4200, '4.2 s'],
    [59_949, '59.9 s'],
    [59_999, '1 min 00 s'],
    [185_000, '3 min 05 s'],
    [7_800_000, '2 h 10 min'],
  ])('formatDuration makes %d ms to %s', (milliseconds, text) => {
    expect(formatDuration(milliseconds)).toBe(text);
  });
});

describe('fakeStream', () => {
  it('fakeStream is what process.stderr is to createOutput', () => {
    expect(fakeStream(true).stream).toBeInstanceOf(PassThrough);
  });
});
