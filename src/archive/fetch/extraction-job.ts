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
    | { readonly kind: 'start'; readonly job: ExtractionJob }
    | { readonly kind: 'chunk'; readonly bytes: ArrayBuffer }
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

/** A chunk has this size, but for the last: a message for each 64 KiB of a socket would cost more than it carries. */
export const chunkBytes = 256 * 1024;
/** Chunks of one tar on their way to a thread. */
export const maximumChunksAhead = 8;
