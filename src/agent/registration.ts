/** Whom the agent serves: clusters whose WAL it archives, and restores whose WAL it fetches. JSON-safe: they are kept on disk. */
import { z } from 'zod';
import { defaultWalSegmentBytes, isWalSegmentName } from '../domain/wal-segment.ts';

const segmentName = z.string().refine(isWalSegmentName, 'is not the name of a WAL segment');

const walRange = z.object({ timeline: z.int().positive(), first: segmentName, last: segmentName });

/** Segments in the order of replay, from the first to the last, both included. */
export type WalRange = z.infer<typeof walRange>;

const walView = z.object({
  segments: z.array(walRange).readonly(),
  /** The segment behind those, of which the archive holds NAME.partial. */
  partial: segmentName.optional(),
  /** Names of history files, `00000002.history`. */
  histories: z.array(z.string()).readonly(),
});

/**
 * The WAL that a restore may see: the list that was proven to be in the archive when the restore was planned, and nothing that came later.
 * Without this, dropping an unreached target would let commits made after the target slip in.
 */
export type WalView = z.infer<typeof walView>;

export const clusterRegistrationSchema = z.object({
  /** Becomes a file name. */
  name: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/, 'must be 1 to 63 letters, digits, _ . or -, beginning with a letter or digit'),
  dataDirectory: z.string().startsWith('/'),
  /** From pg_control, decimal. Files of another cluster are refused. */
  systemIdentifier: z.string().regex(/^\d+$/),
  archiveUrl: z.string(),
  segmentBytes: z.int().positive().default(defaultWalSegmentBytes),
});
/** A cluster whose WAL is archived. */
export type ClusterRegistration = Readonly<z.infer<typeof clusterRegistrationSchema>>;

export const restoreRegistrationSchema = z.object({
  restoreId: z.string().min(1),
  archiveUrl: z.string(),
  /** The directory being restored; files are written to its pg_wal and to its walkback_restore/prefetch, nowhere else. */
  dataDirectory: z.string().startsWith('/'),
  systemIdentifier: z.string().regex(/^\d+$/),
  segmentBytes: z.int().positive().default(defaultWalSegmentBytes),
  view: walView,
});
/** A restore whose WAL is fetched. */
export type RestoreRegistration = Readonly<z.infer<typeof restoreRegistrationSchema>>;

/** Registrations as callers write them: what has a default may be left out. */
export type ClusterRegistrationInput = Readonly<z.input<typeof clusterRegistrationSchema>>;
export type RestoreRegistrationInput = Readonly<z.input<typeof restoreRegistrationSchema>>;
