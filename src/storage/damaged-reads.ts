/** Reading again what came damaged. */
import { WalkbackError } from '../domain/errors.ts';

/** A byte that changed on the way is right when it is read again; one that changed at rest never is. */
const damagedReadsMaximum = 3;

/** Repeats a read that says OBJECT_DAMAGED, three times in all. Nothing of a failed read may be kept. @throws the last error */
export async function repeatWhenDamaged<T>(read: () => Promise<T>): Promise<T> {
  for (let reads = 1; ; reads += 1) {
    try {
      return await read();
    } catch (error) {
      const isDamaged = error instanceof WalkbackError && error.code === 'OBJECT_DAMAGED';
      if (!isDamaged || reads === damagedReadsMaximum) throw error;
    }
  }
}
