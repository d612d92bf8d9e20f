#!/usr/bin/env node
/** The program `walkback`: runs a command and ends with its exit code (docs/exit-codes.md). */
import '../files/thread-pool.ts';
import { CommanderError } from 'commander';
import { WalkbackError } from '../domain/errors.ts';
import { createOutput, errorDocument, printError } from './output.ts';
import { createProgram } from './program.ts';

const usageExitCode = 2;

try {
  await createProgram().parseAsync();
} catch (error) {
  const output = createOutput({ json: process.argv.includes('--json') });
  process.exitCode = error instanceof CommanderError ? endOfUsage(error) : printError(error, output);

  /** Commander has said on stderr what is wrong, and on which option, already; help and version end here too. */
  function endOfUsage({ exitCode, message }: CommanderError): number {
    if (exitCode === 0) return 0;
    if (output.json) output.answer(errorDocument(new WalkbackError('INVALID_REQUEST', message.replace(/^error: /, ''))), '');
    return usageExitCode;
  }
}
