/** The whole command line of `walkback`. Heavy parts are imported by the command that needs them, so that `--help` answers at once. */
import { Command } from 'commander';
import { addArchiveCommands } from './commands/archive.ts';
import { addArchiveStatusCommand } from './commands/archive-status.ts';
import { addDemoCommand } from './commands/demo.ts';
import { addFamilyCommands } from './commands/family.ts';
import { addProbeCommand } from './commands/probe.ts';
import { addProofCommands } from './commands/proof.ts';
import { addProcessCommands } from './commands/processes.ts';
import { addDecisionCommands } from './commands/decisions.ts';
import { addRetentionCommands } from './commands/retention.ts';
import { addRestoreCommands } from './commands/restore.ts';
import { addUndoCommand } from './commands/undo.ts';
import { addScheduleCommands } from './commands/schedule.ts';
import { walkbackVersion } from '../processes/version.ts';

/** Builds it. Errors of usage are thrown as CommanderError, after they were told on stderr. */
export function createProgram(): Command {
  const program = new Command('walkback')
    .description('Walk your Postgres back: continuous backup to object storage, and restore to any instant as a new cluster.')
    .version(walkbackVersion)
    .option('--config <file>', 'configuration file; default: $WALKBACK_CONFIG, ./walkback.yaml, /etc/walkback/walkback.yaml')
    .option('--json', 'one JSON document on stdout, progress on stderr')
    .showHelpAfterError('(walkback --help shows what there is)')
    .exitOverride();
  addProcessCommands(program);
  addArchiveCommands(program);
  addArchiveStatusCommand(program);
  addProbeCommand(program);
  addProofCommands(program);
  addRetentionCommands(program);
  addRestoreCommands(program);
  addDecisionCommands(program);
  addFamilyCommands(program);
  addUndoCommand(program);
  addScheduleCommands(program);
  addDemoCommand(program);
  return program;
}
