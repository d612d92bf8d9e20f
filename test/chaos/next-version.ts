/** Walkback of a later version: the same sources under another number, in a directory of its own, as an upgrade leaves them. */
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What to start in place of this version's program. */
export interface LaterVersion {
  readonly version: string;
  /** Its src/cli/main.ts. */
  readonly program: string;
}

const root = fileURLToPath(new URL('../../', import.meta.url));

/** Puts it into the directory, in place of a later version that is there already. @param step how many versions later, from 1 */
export async function installLaterVersion(directory: string, step: number): Promise<LaterVersion> {
  const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { readonly version: string };
  const [major = '0', minor = '0', patch = '0'] = manifest.version.split('.');
  const version = `${major}.${minor}.${Number(patch) + step}`;
  const content = JSON.stringify({ ...manifest, version });
  if (step === 1) {
    await mkdir(directory);
    await cp(join(root, 'src'), join(directory, 'src'), { recursive: true });
    await symlink(join(root, 'node_modules'), join(directory, 'node_modules'));
  }
  await writeFile(join(directory, 'package.json'), content);
  return { version, program: join(directory, 'src', 'cli', 'main.ts') };
}
