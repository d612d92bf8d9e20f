/** Messages that a restore takes. */
import { defineQuery, defineUpdate } from '@temporalio/workflow';
import { progressQuery, type PromoteAccepted, promoteUpdate, type RestoreProgress } from './contract.ts';

/** Where the restore stands. */
export const restoreProgress = defineQuery<RestoreProgress>(progressQuery);

/** Ends the pause at the target. Refused in every other phase. */
export const promote = defineUpdate<PromoteAccepted>(promoteUpdate);
