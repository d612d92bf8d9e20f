// Where things lie in the repository.

import { fileURLToPath } from 'node:url';
import { join } from 'node:path';

/** The directory that holds package.json. */
export const packageRoot = fileURLToPath(new URL('../../', import.meta.url)).replace(/\/$/, '');

/** What set-up brings in lands here; git ignores it. */
export const toolsDirectory = join(packageRoot, '.tools');

/** Committed lists of what set-up brings in. */
export const scriptsDirectory = join(packageRoot, 'scripts');
