/** What passes between the thread that fetches and those that extract. Everything here can be cloned. */
import type { ErrorCode, ErrorFacts } from '../../domain/errors.ts';
import type { CipherSettings } from '../encryption.ts';
import type { PlacementFacts } from './member-placement.ts';

/** What a thread is started with. */
export interface ExtractionSetting {
  readonly cipher: CipherSettings | undefined;
}

/** One tar to extract. */
export interface ExtractionJob {
  readonly key: string;
  readonly extension: string;
  /** Of the stored bytes; undefined for backups that WAL-G wrote. */
  readonly expectedSha256: string | undefined;
  readonly placement: PlacementFacts;
  /**
   * The stored bytes are kept in this file until they are proven, and extracted then. For deltas: pages from a damaged increment, once written
   * over those of the base, could not be taken back by reading the object again.
   */
  readonly proveIn: string | undefined;
}

/** To a thread that extracts, about one of its tars. */
export interface ToExtraction {
  /** Number of the tar. */
  readonly tar: number;
  readonly message:
    /** `slots`: maximumChunksAhead times chunkBytes, filled in turn. */
    | { readonly kind: 'start'; readonly job: ExtractionJob; readonly slots: SharedArrayBuffer }
    /** So many bytes are in the next slot. */
    | { readonly kind: 'chunk'; readonly sizeBytes: number }
    | { readonly kind: 'end' }
    /** The rest will not come. */
    | { readonly kind: 'stop' };
}

/** From it. */
export interface FromExtraction {
  readonly tar: number;
  readonly message: ExtractionNews;
}

export type ExtractionNews =
  /** A chunk was used up; the next may come. */
  | { readonly kind: 'taken' }
  | { readonly kind: 'done'; readonly arrivedCount: number }
  | { readonly kind: 'failed'; readonly failure: ExtractionFailure };

/** An error, taken apart: cloning one loses its code. */
export type ExtractionFailure =
  | { readonly kind: 'walkback'; readonly code: ErrorCode; readonly message: string; readonly hint: string; readonly facts: ErrorFacts }
  | {
      readonly kind: 'system';
      readonly code: string;
      readonly message: string;
      readonly syscall: string;
      readonly path: string | undefined;
    }
  | { readonly kind: 'content'; readonly message: string };

/** A chunk has this size, but for the last: messages cost more than what small ones carry. */
export const chunkBytes = 1024 * 1024;
/** Chunks of one tar on their way to a thread. Their memory is used again and again: new memory for each would cost garbage collections. */
export const maximumChunksAhead = 4;

/** The place of a chunk, by how many came before it. */
export function slotOf(slots: SharedArrayBuffer, chunksBefore: number): Buffer<SharedArrayBuffer> {
  return Buffer.from(slots, (chunksBefore % maximumChunksAhead) * chunkBytes, chunkBytes);
}
