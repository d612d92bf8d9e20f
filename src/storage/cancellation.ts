/** How a cancelled storage operation ends. */
import { WalkbackError } from '../domain/errors.ts';

/** The error of an operation that was given up because its signal said so. */
export function cancelled(operation: string, url: string, signal: AbortSignal): WalkbackError {
  return new WalkbackError('CANCELLED', `${operation} of ${url} was cancelled.`, { facts: { operation, url }, cause: signal.reason });
}

/** Ends an operation before it begins when its signal is set already. @throws WalkbackError CANCELLED */
export function throwIfCancelled(operation: string, url: string, signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw cancelled(operation, url, signal);
}
