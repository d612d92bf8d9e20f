// The gate: `node scripts/test.mjs` runs everything, `--quick` leaves the integration tests out, and any other arguments are handed to
// vitest, which is then all that runs. One line a step with its time; stops at the first failure with its exit code; ends with the
// numbers of tests that vitest counted. Started by scripts/run.mjs, so Node 24 is first on PATH and the user is not root.

import './check-node.mjs';
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';

const staticSteps = [
  { name: 'format', command: ['oxfmt', '--check', '.'] },
  { name: 'lint', command: ['oxlint', '--type-aware'] },
  { name: 'types', command: ['tsc', '-p', '.'] },
  { name: 'workflow bundle', command: ['node', 'scripts/bundle-workflows.mjs'] },
  { name: 'dead code', command: ['knip'] },
];

/** The tree may belong to another user than the one that runs the tests, so vitest bundles no configuration and keeps no cache in it. */
const vitest = ['vitest', 'run', '--configLoader', 'native', '--fsModuleCache=false', '--reporter', 'default', '--reporter', 'json'];

function stepsFor(args, reportDirectory) {
  const tests = (name, more) => {
    const report = join(reportDirectory, `${name.replaceAll(' ', '-')}.json`);
    return { name, command: [...vitest, `--outputFile.json=${report}`, ...more], report };
  };
  if (args.length > 0 && args[0] !== '--quick') return [tests('tests', args)];
  const unit = tests('unit tests', ['--project', 'unit']);
  return args[0] === '--quick' ? [...staticSteps, unit] : [...staticSteps, unit, tests('integration tests', ['--project', 'integration'])];
}

/** Runs the steps in order and returns the exit code of the first that failed, or 0. */
async function runSteps(steps) {
  for (const { name, command } of steps) {
    const startedMs = performance.now();
    const exitCode = await execute(command);
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
    process.stdout.write(
      `${exitCode === 0 ? 'ok    ' : 'FAILED'} ${name} (${seconds} s${exitCode === 0 ? '' : `, exit code ${exitCode}`})\n`,
    );
    if (exitCode !== 0) return exitCode;
  }
  return 0;
}

/** The exit code of a command, as a shell gives it; a signal that asks this process to end is handed on to the command. */
function execute([file, ...args]) {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { stdio: ['ignore', 'inherit', 'inherit'] });
    const forward = (name) => child.kill(name);
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(name, forward);
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.off(name, forward);
      resolve(code ?? 128 + constants.signals[signal]);
    });
  });
}

/** The sums over vitest's own reports, or null when one that ran wrote none. */
async function countTests(steps) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  let reportCount = 0;
  for (const { report } of steps.filter((step) => step.report !== undefined)) {
    const text = await readFile(report, 'utf8').catch(() => null);
    if (text === null) continue;
    const result = JSON.parse(text);
    reportCount += 1;
    counts.passed += result.numPassedTests;
    counts.failed += result.numFailedTests;
    counts.skipped += result.numPendingTests + result.numTodoTests;
  }
  return reportCount === 0 ? null : counts;
}

async function main(args) {
  const reportDirectory = await mkdtemp(join(tmpdir(), 'report-'));
  try {
    const steps = stepsFor(args, reportDirectory);
    const exitCode = await runSteps(steps);
    const counts = await countTests(steps);
    if (counts !== null) process.stdout.write(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`);
    return exitCode === 0 && (counts === null || counts.passed === 0) ? 1 : exitCode;
  } finally {
    await rm(reportDirectory, { recursive: true, force: true });
  }
}

process.exitCode = await main(process.argv.slice(2));
