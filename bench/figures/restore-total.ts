/** A whole restore: from nothing to promoted and writable. */
import { join } from 'node:path';
import { freePort } from '../../src/demo/local-services/free-port.ts';
import { stopServer } from '../../src/postgres/process-control.ts';
import type { Measurement } from '../measure/measure.ts';
import type { Peer } from '../peers/peer.ts';
import { discard, removeDirectory } from '../site/bench-site.ts';
import type { MeasuredFigure, StageWithWal } from './figure.ts';

export const restoreTotal: MeasuredFigure = {
  name: 'restore-total',
  title: 'whole restore, nothing to writable',
  unit: 's',
  target: { ratios: { 'wal-g': 1.3, 'local-files': 1 / 1.15 } },
  when: 'after-wal',
  measure: (stage, peer) => restored(stage, peer, peer.restoreAll?.bind(peer)),
};

/** What is ours to answer for in a whole restore: everything but bytes and PostgreSQL itself. */
export const orchestration: MeasuredFigure = {
  name: 'orchestration',
  title: 'whole restore, less fetching, replaying and PostgreSQL’s start and stop',
  unit: 's',
  target: { ratios: {}, oursMaximumSeconds: 2 },
  when: 'after-wal',
  measure: (stage, peer) => restored(stage, peer, peer.orchestrate?.bind(peer)),
};

const stopTimeoutMs = 60_000;

async function restored({ site, wal }: StageWithWal, peer: Peer, restore: Peer['restoreAll']): Promise<Measurement> {
  if (restore === undefined) throw new Error(`${peer.name} takes no part in whole restores`);
  const port = await freePort();
  const dataDirectory = join(site.restoredDirectory, `total-${peer.name}-${port}`);
  try {
    return await restore({ dataDirectory, port, wal });
  } finally {
    await stopServer({ dataDirectory, mode: 'immediate', timeoutMs: stopTimeoutMs });
    for (const suffix of ['.log', '.settings']) await removeDirectory(`${dataDirectory}${suffix}`);
    await discard(site, dataDirectory);
  }
}
