/** Messages that a restore takes. */
import { defineQuery, defineUpdate } from '@temporalio/workflow';
import {
  type AdvanceInput,
  type DecisionAccepted,
  type DecisionInput,
  decisionUpdates,
  progressQuery,
  type RestoreProgress,
} from './contract.ts';

/** Where the restore stands. */
export const restoreProgress = defineQuery<RestoreProgress>(progressQuery);

/** The decisions that a waiting restore takes. */
export const promote = defineUpdate<DecisionAccepted, [DecisionInput?]>(decisionUpdates.promote);
export const advance = defineUpdate<DecisionAccepted, [AdvanceInput]>(decisionUpdates.advance);
export const retry = defineUpdate<DecisionAccepted, [DecisionInput?]>(decisionUpdates.retry);
export const abort = defineUpdate<DecisionAccepted, [DecisionInput]>(decisionUpdates.abort);
