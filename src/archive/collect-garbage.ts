/**
 * For work that makes much garbage on a program's main thread: what limits do for other threads (thread-heap-limits.ts) has to be asked for there, since
 * the limits of its heap are those that the process began with.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** V8's own function (extensions/gc-extension.cc). */
type Collect = (options: { readonly type: 'major'; readonly flavor: 'last-resort' }) => void;

let collect: Collect | undefined;

/**
 * Collects the garbage of this thread at once and gives its room back to the system, which V8 otherwise keeps for the next (100 MiB of it). It stands
 * still for a tenth of a second at 100 MiB.
 */
export function collectGarbage(): void {
  if (collect === undefined) {
    // V8's own way to it (`node --help`, --expose-gc); a context made from now on has it.
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as Collect;
  }
  // The regular flavor leaves the heap as large as it was.
  collect({ type: 'major', flavor: 'last-resort' });
}
