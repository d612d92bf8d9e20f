/** What is measured is the package as it is installed, `dist/`: from the sources, every process and thread strips types first, and keeps what does that in memory. */
import { fileURLToPath } from 'node:url';

/** Path of a file of the built package. `npm run bench` builds it. */
export function builtFile(name: string): string {
  return fileURLToPath(new URL(`../dist/${name}`, import.meta.url));
}

/** Loads it; `Module` is the type of the source that it was made from. */
export async function built<Module>(name: string): Promise<Module> {
  return (await import(builtFile(name))) as Module;
}
