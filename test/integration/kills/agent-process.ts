/**
 * A program for the tests: the agent's WAL service on a real archive in a directory, to be killed at any instant.
 * `node agent-process.ts JSON` with the fields of `AgentPlan`; prints "ready".
 */
import { startWalService } from '../../../src/agent/wal-service.ts';
import type { ClusterRegistrationInput, RestoreRegistrationInput } from '../../../src/agent/registration.ts';
import { createWalArchive } from '../../../src/archive/wal-archive.ts';
import { createFileObjectStore } from '../../../src/storage/file-object-store.ts';

/** What the process is told. */
export interface AgentPlan {
  readonly socketPath: string;
  readonly stateDirectory: string;
  readonly archiveDirectory: string;
  readonly cluster?: ClusterRegistrationInput;
  readonly restore?: RestoreRegistrationInput;
}

const plan = JSON.parse(process.argv[2] ?? '') as AgentPlan;
const store = createFileObjectStore({ directory: plan.archiveDirectory });
const note = (facts: object, message: string) => void process.stderr.write(`${message} ${JSON.stringify(facts)}\n`);
const service = await startWalService({
  socketPath: plan.socketPath,
  stateDirectory: plan.stateDirectory,
  openArchive: ({ segmentBytes }) => createWalArchive(store, { compression: 'zstd', segmentBytes }),
  log: { info: note, warn: note, error: note },
});
if (plan.cluster !== undefined) await service.registerCluster(plan.cluster);
if (plan.restore !== undefined) await service.registerRestore(plan.restore);
process.stdout.write('ready\n');
