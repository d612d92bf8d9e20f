/** The operator's page in the Temporal UI: Markdown for setCurrentDetails. Lists, since the UI renders the cells of a table run together. */
import type { LandingReport } from '../domain/landing-report.ts';
import { describeTarget } from '../domain/recovery-target.ts';
import { renderLandingMarkdown } from '../domain/render-landing-report.ts';
import type { RestoreRequest } from '../domain/restore-request.ts';
import type { StepState } from './step-recorder.ts';

/** Details of a restore; at its end with the landing report. */
export function renderRestoreDetails(request: RestoreRequest, state: StepState<string>, landing?: LandingReport): string {
  return [
    `## ${request.cluster} → ${request.name}`,
    `- **Target:** ${describeTarget(request.target)}`,
    `- **Host:** ${request.host}, ${request.dataDirectory}, port ${request.port}`,
    `- **Now:** ${state.phase} — ${state.summary}`,
    ...waitingLines(state.waitingFor),
    ...stepLines(state),
    ...(landing === undefined ? [] : ['', renderLandingMarkdown(landing)]),
  ].join('\n');
}

/** Details of a base backup, or of enabling archiving. */
export function renderClusterDetails(cluster: string, state: StepState<string>): string {
  return [`## ${cluster}`, `- **Now:** ${state.phase} — ${state.summary}`, ...waitingLines(state.waitingFor), ...stepLines(state)].join(
    '\n',
  );
}

function waitingLines(waitingFor: string | null): string[] {
  return waitingFor === null ? [] : [`- **Waiting for a decision:** ${waitingFor}`];
}

function stepLines(state: StepState<string>): string[] {
  if (state.steps.length === 0) return [];
  const lines = state.steps.map(
    (step) => `- ${step.name}: ${(step.milliseconds / 1000).toFixed(1)} s${step.attempts > 1 ? `, attempt ${step.attempts}` : ''}`,
  );
  return ['', '### Steps done', ...lines];
}
