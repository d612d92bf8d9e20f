/** Our own rules that no tool enforces (CONTRIBUTING.md), and proof that those which a tool enforces really are. */
import { execFile } from 'node:child_process';
import { copyFile, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { generatedPages } from '../scripts/generate-docs.ts';
import { errorCatalogue } from '../src/domain/errors.ts';
import { temporaryDirectory } from './harness/temp.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const notOurs: ReadonlySet<string> = new Set(['node_modules', 'dist', '.git', '.tools', 'histories']);
const fileLinesMaximum = 320;
const functionLinesMaximum = 75;
/** Here a peer of the test is slow, not the test: a server that dawdles, a process that hangs. */
const slowOnPurpose: ReadonlySet<string> = new Set(['test/conformance/s3-faults.test.ts', 'test/integration/scripts.test.ts']);
const lintTimeoutMs = 30_000;

interface SourceFile {
  /** Relative to the root, with slashes. */
  readonly path: string;
  readonly lines: readonly string[];
}

let files: readonly SourceFile[] = [];

beforeAll(async () => {
  files = await readTree(root, /\.(ts|cjs|mjs|js|json|jsonc|md|ya?ml|sh)$|(^|\/)(Dockerfile|run)$/);
});

/** Our own source and text files below a directory. */
async function readTree(directory: string, wanted: RegExp): Promise<SourceFile[]> {
  const entries = await readdir(directory, { withFileTypes: true });
  const read = entries
    .filter((entry) => !notOurs.has(entry.name))
    .map(async (entry) => {
      const path = join(directory, entry.name);
      if (entry.isDirectory()) return await readTree(path, wanted);
      if (!entry.isFile() || !wanted.test(path)) return [];
      return [{ path: relative(root, path), lines: (await readFile(path, 'utf8')).split('\n') }];
    });
  return (await Promise.all(read)).flat();
}

function below(folders: RegExp, ending = /\.(ts|cjs|mjs)$/): readonly SourceFile[] {
  const found = files.filter(({ path }) => folders.test(path) && ending.test(path));
  expect(found.length).toBeGreaterThan(0);
  return found;
}

/** The file with its whole-line comments emptied. */
function withoutComments({ path, lines }: SourceFile): SourceFile {
  return { path, lines: lines.map((line) => (/^\s*(?:\/\/|\/?\*)/.test(line) ? '' : line)) };
}

/** `path:line: text` of every line that the pattern finds. */
function findings(among: readonly SourceFile[], pattern: RegExp): string[] {
  return among.flatMap(({ path, lines }) =>
    lines.flatMap((line, index) => (pattern.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : [])),
  );
}

describe('source files', () => {
  it(`source files have at most ${fileLinesMaximum} lines, but for the error catalogue, which is a table`, () => {
    const long = below(/^src\//).filter(({ path, lines }) => lines.length - 1 > fileLinesMaximum && path !== 'src/domain/errors.ts');
    expect(long.map(({ path, lines }) => `${path}: ${lines.length - 1}`)).toEqual([]);
  });

  it(`functions have at most ${functionLinesMaximum} lines`, () => {
    const long = below(/^(src|scripts)\//)
      .flatMap(functionsOf)
      .filter(({ lineCount }) => lineCount > functionLinesMaximum);
    expect(long.map(({ place, lineCount }) => `${place}: ${lineCount}`)).toEqual([]);
  });

  it('source files hold no notes to self', () => {
    expect(findings(below(/^(src|scripts|test|bench|examples)\//), /\b(?:TO(?:DO)|FIX(?:ME)|XX(?:X))\b/)).toEqual([]);
  });

  it("only src/archive/layout.ts knows WAL-G's paths", () => {
    const others = below(/^src\//).filter(({ path }) => path !== 'src/archive/layout.ts');
    expect(findings(others.map(withoutComments), /basebackups_005|wal_005|_backup_stop_sentinel/)).toEqual([]);
  });

  it('no file names a place that only one machine has', () => {
    const anywhere = files.filter(({ path }) => path !== 'package-lock.json');
    expect(findings(anywhere, /(?<![\w.])\/(?:work|root|home\/[a-z]+|tmp\/wb)\//)).toEqual([]);
  });
});

describe('test files', () => {
  it('waits are measured by a clock that nobody sets', () => {
    const measured = below(/^src\/(?!demo|workflows)/).map(withoutComments);
    expect(findings(measured, /deadline\w* = Date\.now|Date\.now\(\) (?:[<>]|- (?!Date\.parse|newestMs|since\)))/i)).toEqual([]);
  });

  it('test files wait for a condition and never for a time', () => {
    const waiting = below(/^test\//).filter(({ path }) => !slowOnPurpose.has(path));
    expect(findings(waiting, /setTimeout\((?:resolve|res|r|done)\b|new Promise\(.*setTimeout\(/)).toEqual([]);
  });

  it('test files leave no test out and prefer none', () => {
    expect(findings(below(/^test\//, /\.test\.ts$/), /\b(?:describe|it|test|suite)\.(?:only|skip|todo)\b/)).toEqual([]);
  });
});

describe('pages', () => {
  it.each(generatedPages())('$path is what scripts/generate-docs.ts makes of the source', async ({ path, text }) => {
    expect(await readFile(join(root, path), 'utf8')).toBe(text);
  });

  it('pages link to files that exist', async () => {
    const broken = await Promise.all(below(/./, /\.md$/).flatMap((page) => linksOf(page).map((link) => brokenLink(page, link))));
    expect(broken.filter((link) => link !== undefined)).toEqual([]);
  });
});

describe('docs/acceptance.md', () => {
  const numbered = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, index) => `A${first + index}`);

  it('numbers every demand, and each has a test that is named so', async () => {
    const page = await readFile(join(root, 'docs/acceptance.md'), 'utf8');
    const numbers = [...page.matchAll(/^\| (A\d+b?) \|/gm)].map((match) => match[1] ?? '');
    expect(numbers).toEqual([...numbered(1, 12), 'A12b', ...numbered(13, 20)]);
    const titles = below(/^test\//, /\.test\.ts$/).flatMap(({ lines }) =>
      [...lines.join('\n').matchAll(/'((?:A\d+b?(?:, )?)+): /g)].flatMap((match) => (match[1] ?? '').split(', ')),
    );
    expect(numbers.filter((number) => !titles.includes(number))).toEqual([]);
  });
});

describe('docs/errors.md', () => {
  it('has no error that no test names', () => {
    // Chaos only says which errors would be no clear failure, and the catalogue's own test makes what it looks at.
    const text = below(/^test\//)
      .filter(({ path }) => !/^test\/(?:tidy|domain\/errors)\.test\.ts$|^test\/chaos\//.test(path))
      .flatMap(({ lines }) => lines)
      .join('\n');
    expect(Object.keys(errorCatalogue).filter((code) => !text.includes(code))).toEqual([]);
  });
});

describe('the import rules', () => {
  /** One forbidden import a folder (design: "Rooms"). */
  const forbidden: readonly (readonly [string, string])[] = [
    ['domain', "import { readFile } from 'node:fs/promises';"],
    ['domain', "import { s } from '../storage/s.ts';"],
    ['storage', "import { s } from '../archive/s.ts';"],
    ['archive', "import { s } from '../postgres/s.ts';"],
    ['archive', "import { S3Client } from '@aws-sdk/client-s3';"],
    ['postgres', "import { s } from '../storage/s.ts';"],
    ['agent', "import { Context } from '@temporalio/activity';"],
    ['agent', "import { s } from '../activities/s.ts';"],
    ['activities', "import { s } from '../client/s.ts';"],
    ['workflows', "import { s } from '../activities/s.ts';"],
    ['workflows', "import { readFile } from 'node:fs/promises';"],
    ['workflows', "import { z } from 'zod';"],
    ['temporal', "import { s } from '../activities/s.ts';"],
    ['client', "import { s } from '../archive/s.ts';"],
    ['client', "import { Worker } from '@temporalio/worker';"],
    ['client', "import { s } from '../workflows/base-backup.ts';"],
  ];
  const allowed: readonly (readonly [string, string])[] = [
    ['domain', "import { s } from './s.ts';"],
    ['archive', "import { s } from '../storage/s.ts';"],
    ['workflows', "import type { s } from '../activities/s.ts';"],
    ['client', "import { s } from '../workflows/contract.ts';"],
  ];

  it(
    'the import rules are enforced by lint',
    async () => {
      await using directory = await temporaryDirectory('lint');
      await copyFile(join(root, '.oxlintrc.json'), directory.join('.oxlintrc.json'));
      const cases = [...forbidden, ...allowed];
      for (const [index, [folder, line]] of cases.entries()) {
        await mkdir(directory.join('src', folder), { recursive: true });
        await writeFile(directory.join('src', folder, `case-${index}.ts`), `${line}\n`);
      }
      const refused = await filesRefusedIn(directory.path);
      const expected = forbidden.map(([folder], index) => `src/${folder}/case-${index}.ts`);
      expect([...refused].toSorted()).toEqual(expected.toSorted());
    },
    lintTimeoutMs,
  );
});

/** Paths with a finding of no-restricted-imports. */
async function filesRefusedIn(directory: string): Promise<ReadonlySet<string>> {
  const oxlint = join(root, 'node_modules', 'oxlint', 'bin', 'oxlint');
  const options = { cwd: directory, timeout: lintTimeoutMs };
  // Findings make oxlint exit with 1, which execFile takes for a failure; what it printed is on the error.
  const output = await promisify(execFile)(process.execPath, [oxlint, '--format', 'json'], options).catch((error: unknown) => error);
  const { diagnostics } = JSON.parse((output as { stdout: string }).stdout) as { diagnostics: { code: string; filename: string }[] };
  return new Set(diagnostics.filter(({ code }) => code.includes('no-restricted-imports')).map(({ filename }) => filename));
}

/** Relative links of a page; code is not read. */
function linksOf({ lines }: SourceFile): string[] {
  const prose = lines.join('\n').replaceAll(/```[\s\S]*?```|`[^`\n]*`/g, '');
  const links = [...prose.matchAll(/\]\(([^)\s]+)(?:\s+"[^"]*")?\)/g)].map((match) => match[1] ?? '');
  return links.filter((link) => !/^(?:[a-z]+:|#)/.test(link));
}

async function brokenLink(page: SourceFile, link: string): Promise<string | undefined> {
  const target = resolve(root, dirname(page.path), decodeURI(link.replace(/#.*$/, '')));
  const found = await stat(target).then(
    () => true,
    () => false,
  );
  return found ? undefined : `${page.path}: ${link}`;
}

/** A line that begins a block of statements which is a function: declaration, method, or arrow. */
const functionStart =
  /\bfunction\b.*\{$|=> \{$|^\s*(?!(?:if|for|while|switch|catch|with|do|else|return)\b)(?:(?:async|static|override|get|set|private) )*[*#\w[\].]+\(.*\{$/;

/** Functions by indentation, which oxfmt guarantees: a block ends at the first line that is indented as its first one and begins with `}`. */
function functionsOf({ path, lines }: SourceFile): { readonly place: string; readonly lineCount: number }[] {
  return lines.flatMap((line, index) => {
    if (!functionStart.test(line) && !/^\s*\)(?:: .*)? (?:=> )?\{$/.test(line)) return [];
    const indent = /^\s*/.exec(line)?.[0] ?? '';
    const end = lines.findIndex((other, at) => at > index && other.startsWith(`${indent}}`));
    const start = line.trimStart().startsWith(')') ? lines.findLastIndex((other, at) => at < index && isIndented(other, indent)) : index;
    return end === -1 ? [] : [{ place: `${path}:${start + 1}`, lineCount: end - start + 1 }];
  });
}

function isIndented(line: string, indent: string): boolean {
  return line.startsWith(indent) && /^\S/.test(line.slice(indent.length));
}
