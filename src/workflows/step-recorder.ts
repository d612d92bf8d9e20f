/** Remembers a workflow's steps: what the query `progress` answers, what the Temporal UI shows, what the report lists. */
import { defineSearchAttributeKey } from '@temporalio/common';
import { setCurrentDetails, upsertSearchAttributes } from '@temporalio/workflow';
import type { Attempted } from '../activities/types.ts';
import type { StepReport } from '../domain/landing-report.ts';
import { searchAttributeTypes } from '../domain/search-attributes.ts';

const phaseKey = defineSearchAttributeKey('WalkbackPhase', searchAttributeTypes.WalkbackPhase);

/** The state that a workflow shows. */
export interface StepState<Phase extends string> {
  readonly phase: Phase;
  readonly summary: string;
  readonly waitingFor: string | null;
  readonly steps: readonly StepReport[];
}

/** Where people look. */
export interface StepDisplay {
  phase(phase: string): void;
  /** @param markdown what the workflow's page shows */
  details(markdown: string): void;
}

/** The page of a workflow in the Temporal UI. */
export const temporalDisplay: StepDisplay = {
  phase: (phase) => upsertSearchAttributes([{ key: phaseKey, value: phase }]),
  details: (markdown) => setCurrentDetails(markdown),
};

/** Remembers the steps of one workflow run. */
export class StepRecorder<Phase extends string> {
  readonly #render: (state: StepState<Phase>) => string;
  readonly #display: StepDisplay;
  #state: StepState<Phase>;

  /** @param render what the Temporal UI shows as current details, in Markdown */
  constructor(first: Phase, render: (state: StepState<Phase>) => string, display: StepDisplay = temporalDisplay) {
    this.#render = render;
    this.#display = display;
    this.#state = { phase: first, summary: '', waitingFor: null, steps: [] };
  }

  get state(): StepState<Phase> {
    return this.#state;
  }

  /** Enters a phase, runs its activity, and remembers how long it took and on which attempt it succeeded. */
  async run<T>(phase: Phase, summary: string, activity: (summary: string) => Promise<Attempted<T>>): Promise<T> {
    const startedMs = Date.now();
    this.enter(phase, summary);
    const { value, attempts } = await activity(summary);
    this.#state = { ...this.#state, steps: [...this.#state.steps, { name: phase, milliseconds: Date.now() - startedMs, attempts }] };
    this.show();
    return value;
  }

  /** Enters a phase; `waitingFor` says which decision a person has to make. */
  enter(phase: Phase, summary: string, waitingFor: string | null = null): void {
    this.#state = { ...this.#state, phase, summary, waitingFor };
    this.#display.phase(phase);
    this.show();
  }

  /** Brings the current details up to date. */
  show(): void {
    this.#display.details(this.#render(this.#state));
  }
}
