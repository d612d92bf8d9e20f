/** The clocks of a site's processes, which are set while the processes run. */
import { rename, writeFile } from 'node:fs/promises';

/** Names the file for the process; see jumping-clock.ts. */
export const clockFileVariable = 'CHAOS_CLOCK_FILE';

/** Variables for processes whose clock can be set. @param file beside which a file for each process is kept */
export function settableClock(file: string): Readonly<Record<string, string>> {
  return { [clockFileVariable]: file, NODE_OPTIONS: `--import ${new URL('jumping-clock.ts', import.meta.url).href}` };
}

/** Lets the clock of a process jump, also of one that is started later. @param who the first argument of its program */
export async function setClock(file: string, who: string, shiftMs: number): Promise<void> {
  const path = `${file}.${who}`;
  await writeFile(`${path}.new`, String(shiftMs));
  await rename(`${path}.new`, path);
}
