import { describe, expect, it } from 'vitest';
import { fullNameOf, helpOf, leafCommands } from '../../scripts/docs/cli-page.ts';
import { createProgram } from '../../src/cli/program.ts';

const commands = leafCommands(createProgram()).map((command) => [fullNameOf(command), command] as const);

describe('createProgram', () => {
  it('createProgram has every command of the issue', () => {
    expect(commands.map(([name]) => name).toSorted()).toEqual(
      [
        'abort',
        'advance',
        'agent',
        'archive-status',
        'backup',
        'backup-mark',
        'backups',
        'baseline',
        'cancel',
        'demo',
        'enable',
        'lineage',
        'probe',
        'promote',
        'prune',
        'report',
        'restore',
        'restore-point',
        'retry',
        'status',
        'undo',
        'verify',
        'window',
        'worker',
        ...['delete', 'list', 'pause', 'resume', 'set', 'trigger'].map((name) => `schedule ${name}`),
      ].toSorted(),
    );
  });

  it.each(commands)('--help of %s describes it and shows an example of it', (name, command) => {
    const help = helpOf(command);
    expect(command.description()).not.toBe('');
    expect(help).toMatch(new RegExp(`\\nExamples?:\\n(?:.*\\n)*? +.*walkback ${name}(?: |$)`, 'm'));
    for (const line of help.split('\n')) expect(line).toBe(line.trimEnd());
  });

  it.each(commands)('every option of %s has a sentence', (_name, command) => {
    expect(command.options.filter(({ description }) => description === '').map(({ flags }) => flags)).toEqual([]);
  });
});
