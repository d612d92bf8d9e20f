/** Errors as values, so that a test can look at code, message and facts at once. */
import { WalkbackError } from '../../../src/domain/errors.ts';

/** The WalkbackError that the call throws. @throws whatever else it throws, and Error when it throws nothing */
export async function thrownBy(call: () => unknown): Promise<WalkbackError> {
  try {
    await call();
  } catch (error) {
    if (error instanceof WalkbackError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}
