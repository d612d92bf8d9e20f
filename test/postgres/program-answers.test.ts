/** What programs say of themselves is asked once for each file. */
import { chmod, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findInstallations } from '../../src/postgres/installations.ts';
import { askedOnce } from '../../src/postgres/program-answers.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'wb-answers-'));
});
afterEach(() => rm(directory, { recursive: true }));

/** Puts a program in its place as a package manager does: under another name first. */
async function install(name: string, script: string): Promise<string> {
  const path = join(directory, name);
  await writeFile(`${path}.new`, `#!/bin/sh\n${script}\n`);
  await chmod(`${path}.new`, 0o755);
  await rename(`${path}.new`, path);
  return path;
}

/** Asks programs for their output, and counts. */
function countedQuestion(keptMaximum = 8) {
  const asked: string[] = [];
  const answerOf = askedOnce(async (program) => {
    asked.push(program);
    const { stdout, exitCode } = await execa(program, { reject: false });
    return exitCode === 0 ? stdout : undefined;
  }, keptMaximum);
  return { asked, answerOf };
}

describe('askedOnce', () => {
  it('asks a program once, and again when an upgrade has put another in its place', async () => {
    const { asked, answerOf } = countedQuestion();
    const program = await install('postgres', 'echo 17.5');
    expect([await answerOf(program), await answerOf(program), asked.length]).toEqual(['17.5', '17.5', 1]);
    await install('postgres', 'echo 17.6');
    expect([await answerOf(program), await answerOf(program), asked.length]).toEqual(['17.6', '17.6', 2]);
  });

  it('asks again after no answer, and of a program that is gone', async () => {
    const { asked, answerOf } = countedQuestion();
    const program = await install('postgres', 'exit 1');
    expect([await answerOf(program), await answerOf(program), asked.length]).toEqual([undefined, undefined, 2]);
    await install('postgres', 'echo 17.5');
    await answerOf(program);
    await rm(program);
    expect([await answerOf(program), asked.length]).toEqual([undefined, 4]);
  });

  it('keeps no more answers than it may, and forgets the oldest', async () => {
    const { asked, answerOf } = countedQuestion(2);
    const [first, second, third] = [await install('a', 'echo 1'), await install('b', 'echo 2'), await install('c', 'echo 3')];
    for (const program of [first, second, third, second, third]) await answerOf(program);
    expect(asked).toEqual([first, second, third]);
    await answerOf(first);
    expect(asked).toEqual([first, second, third, first]);
  });
});

describe('findInstallations', () => {
  it('hears of an upgrade at once', async () => {
    const search = { explicit: [directory], usualPlaces: false };
    await install('pg_ctl', 'exit 0');
    const versions: string[] = [];
    for (const version of ['17.5', '17.5', '17.6', '18beta1']) {
      await install('postgres', `echo 'postgres (PostgreSQL) ${version} (Debian)'`);
      versions.push(...(await findInstallations(search)).map((found) => `${found.major} ${found.version}`));
    }
    expect(versions).toEqual(['17 17.5', '17 17.5', '17 17.6', '18 18beta1']);
  });
});
