/** `walkback demo`: tells the story on a site of its own, and says what became of it. */
import { tmpdir } from 'node:os';
import { formatDuration, type Output } from '../cli/output.ts';
import type { LandingReport } from '../domain/landing-report.ts';
import { renderLandingReport } from '../domain/render-landing-report.ts';
import { type DemoSite, startDemoSite } from './demo-site.ts';
import { type DemoStory, type Tell, tellDemoStory, untilAborted } from './demo-story.ts';

/** How the demo runs. */
export interface DemoOptions {
  /** Leave everything up at the end, until the signal. */
  readonly keep: boolean;
  readonly output: Output;
  readonly signal: AbortSignal;
}

/** Runs the demo; whatever happens, nothing is left behind. */
export async function runDemo({ keep, output, signal }: DemoOptions): Promise<void> {
  const startedMs = performance.now();
  const tell = teller(output, signal);
  await using site = await tell(`Temporal, S3, PostgreSQL, a worker and an agent are up, below ${tmpdir()}`, () =>
    startDemoSite({ signal }),
  );
  output.note(`         PostgreSQL ${site.installation.major}; Temporal UI: ${site.temporal.uiUrl ?? 'none'}`);
  const story = await abortable(signal, () => tellDemoStory(site, tell));
  const totalMilliseconds = Math.round(performance.now() - startedMs);
  output.answer(documentOf(site, story, totalMilliseconds), textOf(site, story, totalMilliseconds));
  if (!keep) return;
  output.note(`Everything is left up, in ${site.directory}. Look around; Ctrl-C ends it.`);
  await untilAborted(signal);
}

function teller(output: Output, signal: AbortSignal): Tell {
  return async (line, step) => {
    signal.throwIfAborted();
    const startedMs = performance.now();
    output.progress(`   …     ${line}`);
    const result = await step();
    output.note(`${formatDuration(performance.now() - startedMs).padStart(7)}  ${line}`);
    return result;
  };
}

/** Ctrl-C ends the story in the middle of a step; the site is then taken down. */
async function abortable<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason as Error);
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([work(), promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

function textOf(site: DemoSite, story: DemoStory, totalMilliseconds: number): string {
  const reports = story.reports.map(({ report }) => `${renderLandingReport(report)}\n`);
  return [
    '',
    ...story.customers.map((row) => `  ${row}`),
    '',
    ...reports,
    `Done in ${formatDuration(totalMilliseconds)}. Temporal UI: ${site.temporal.uiUrl ?? 'none'}`,
  ].join('\n');
}

function documentOf(site: DemoSite, story: DemoStory, totalMilliseconds: number): object {
  const ok = story.reports.every(
    ({ report }) => report.checks.every((check) => check.ok) && report.roles.every((role) => role.oldPasswordRefused),
  );
  const temporal = { address: site.temporal.address, ui: site.temporal.uiUrl ?? null };
  return { ok, temporal, restores: story.reports.map(({ workflowId, report }) => restoreDocument(workflowId, report)), totalMilliseconds };
}

/** Instants as RFC 3339 texts; docs/cli-json.md is the contract. */
function restoreDocument(workflowId: string, report: LandingReport): object {
  const { requestedTarget, endReason, lastCommitKept, firstCommitLeftOut, timeline, roles, checks, steps } = report;
  return {
    workflowId,
    requestedTarget: requestedTarget.kind === 'time' ? requestedTarget.time : requestedTarget.kind,
    endReason,
    lastCommitKept: lastCommitKept?.time ?? null,
    firstCommitLeftOut: firstCommitLeftOut?.time ?? null,
    firstTransactionLeftOut: firstCommitLeftOut?.xid ?? null,
    timeline,
    newRole: roles[0]?.newName ?? null,
    oldPasswordRefused: roles.length > 0 && roles.every((role) => role.oldPasswordRefused),
    checks,
    steps,
  };
}
