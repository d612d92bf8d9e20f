/** A whole restore: from nothing to promoted and writable. */
import { join } from 'node:path';
import { freePort } from '../../src/demo/local-services/free-port.ts';
import { stopServer } from '../../src/postgres/process-control.ts';
import type { Measurement } from '../measure/measure.ts';
import type { Peer } from '../peers/peer.ts';
import { removeDirectory } from '../site/bench-site.ts';
import type { MeasuredFigure, StageWithWal } from './figure.ts';

export const restoreTotal: MeasuredFigure = {
  name: 'restore-total',
  title: 'whole restore, nothing to writable',
  unit: 's',
  target: { ratios: { 'wal-g': 1.3, 'local-files': 1 / 1.15 } },
  when: 'after-wal',
  measure: restoreAll,
};

const stopTimeoutMs = 60_000;

async function restoreAll({ site, wal }: StageWithWal, peer: Peer): Promise<Measurement> {
  if (peer.restoreAll === undefined) throw new Error(`${peer.name} takes no part in whole restores`);
  const port = await freePort();
  const dataDirectory = join(site.restoredDirectory, `total-${peer.name}-${port}`);
  try {
    return await peer.restoreAll({ dataDirectory, port, wal });
  } finally {
    await stopServer({ dataDirectory, mode: 'immediate', timeoutMs: stopTimeoutMs });
    for (const suffix of ['', '.log', '.settings']) await removeDirectory(`${dataDirectory}${suffix}`);
  }
}
