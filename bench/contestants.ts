/** Who takes part: we, and whoever is found on this machine. */
import type { FigureName } from './figures/figure.ts';
import { createLocalFiles, type LocalFiles } from './peers/local-files.ts';
import type { Peer } from './peers/peer.ts';
import { createPgbackrest } from './peers/pgbackrest.ts';
import { createWalg } from './peers/wal-g.ts';
import { createWalkback, type Walkback } from './peers/walkback.ts';
import type { BenchSite } from './site/bench-site.ts';
import { findProgram } from './site/programs.ts';

/** Everybody. */
export interface Contestants extends AsyncDisposable {
  /** We first: our base backup is the oldest, so that our restores replay the most. */
  readonly all: readonly Peer[];
  readonly walkback: Walkback;
  readonly local: LocalFiles;
}

/** Finds them; says who is missing. */
export async function findContestants(site: BenchSite, say: (line: string) => void): Promise<Contestants> {
  const walkback = await createWalkback(site);
  const local = await createLocalFiles(site);
  const peers: Peer[] = [walkback];
  const walg = findProgram('wal-g', 'WALG_BIN');
  if (walg === undefined) say('wal-g is not here (WALG_BIN, PATH): it is left out');
  else peers.push(await createWalg(site, walg, 'lz4'), await createWalg(site, walg, 'zstd'));
  const pgbackrest = findProgram('pgbackrest');
  if (pgbackrest === undefined || site.s3.tlsPort === undefined) {
    say(
      `pgBackRest is left out: ${pgbackrest === undefined ? 'it is not on PATH' : 'there is no HTTPS port for it (versitygw and openssl)'}`,
    );
  } else peers.push(await createPgbackrest(site, pgbackrest, 'lz4'), await createPgbackrest(site, pgbackrest, 'zst'));
  return { all: [...peers, local], walkback, local, [Symbol.asyncDispose]: () => walkback[Symbol.asyncDispose]() };
}

/** Does the contestant take part? */
export function takesPart(peer: Peer, figure: FigureName): boolean {
  if (figure === 'orchestration') return peer.orchestrate !== undefined;
  return figure !== 'restore-total' || peer.restoreAll !== undefined;
}
