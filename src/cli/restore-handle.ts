/** The restore that an id is of: one that Temporal runs, or one that the agent of this host runs without it. The id tells which. */
import type { RestoreHandle } from '../client/handles.ts';
import { isDirectRestoreId } from '../domain/workflow-ids.ts';
import { type CommonOptions, configurationOf, withClient } from './context.ts';

/** Lets a command use it. @throws WalkbackError TEMPORAL_UNREACHABLE; AGENT_UNREACHABLE for a restore without Temporal */
export async function withRestore<T>(id: string, options: CommonOptions, use: (handle: RestoreHandle) => Promise<T>): Promise<T> {
  const loaded = await configurationOf(options);
  if (!isDirectRestoreId(id)) return await withClient(loaded, (client) => use(client.getRestore(id)));
  const { directHandle } = await import('./direct-restore.ts');
  return await use(directHandle(loaded.configuration.host.socket, id));
}
