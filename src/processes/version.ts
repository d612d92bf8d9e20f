/** Which walkback this is. */
import { readFileSync } from 'node:fs';

/** As package.json has it. */
export const { version: walkbackVersion } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  readonly version: string;
};
