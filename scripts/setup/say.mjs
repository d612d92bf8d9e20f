// How set-up speaks: one line on stderr for each thing it does, one line with a remedy when something fails.

/** A failure somebody can mend: what is wrong (`message`) and what to do about it (`remedy`). */
export class SetupError extends Error {
  constructor(message, remedy) {
    super(message);
    this.name = 'SetupError';
    this.remedy = remedy;
  }
}

/** Writes one line to stderr. */
export function say(line) {
  process.stderr.write(`walkback set-up: ${line}\n`);
}

/** Does the work and says what it was and how long it took. */
export async function step(what, work) {
  const startedMs = performance.now();
  const result = await work();
  say(`${what} (${((performance.now() - startedMs) / 1000).toFixed(1)} s)`);
  return result;
}
