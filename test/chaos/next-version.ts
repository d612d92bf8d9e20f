/** Walkback of a later version: the same sources under another number, in a directory of their own, as an upgrade puts them there. */
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

/** Puts it into the directory. @param step how many versions later, from 1 */
export async function installLaterVersion(directory: string, step: number): Promise<LaterVersion> {
  const place = join(directory, `later-${step}`);
  const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { readonly version: string };
  const [major = '0', minor = '0', patch = '0'] = manifest.version.split('.');
  const version = `${major}.${minor}.${Number(patch) + step}`;
  await mkdir(place);
  await cp(join(root, 'src'), join(place, 'src'), { recursive: true });
  await writeFile(join(place, 'package.json'), JSON.stringify({ ...manifest, version }));
  await symlink(join(root, 'node_modules'), join(place, 'node_modules'));
  return { version, program: join(place, 'src', 'cli', 'main.ts') };
}
