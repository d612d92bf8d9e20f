/** What programs of an installation say of themselves, asked once for each file. */
import { stat } from 'node:fs/promises';

/**
 * Makes a function that asks a program and remembers its answer for as long as the same file is in its place; the package manager's next
 * version is another file. Every step of a restore asks, and Node stands still while it starts a process: the longer, the more memory it has.
 * @param ask what is asked of the program at a path; undefined is no answer, and asked for again the next time
 * @param keptMaximum answers that are kept; the oldest is forgotten for a new one
 */
export function askedOnce<Answer>(
  ask: (program: string) => Promise<Answer | undefined>,
  keptMaximum: number,
): (program: string) => Promise<Answer | undefined> {
  const kept = new Map<string, { readonly identity: string; readonly answer: Answer }>();
  return async (program) => {
    const identity = await identityOf(program);
    const known = kept.get(program);
    if (known !== undefined && known.identity === identity) return known.answer;
    kept.delete(program);
    const answer = await ask(program);
    if (answer === undefined || identity === undefined) return answer;
    const [oldest] = kept.keys();
    if (kept.size >= keptMaximum && oldest !== undefined) kept.delete(oldest);
    kept.set(program, { identity, answer });
    return answer;
  };
}

async function identityOf(path: string): Promise<string | undefined> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join(':');
  } catch {
    // Whoever asks it hears why not.
    return undefined;
  }
}
