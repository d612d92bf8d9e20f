import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const clientPath = fileURLToPath(new URL('../../src/client/index.ts', import.meta.url));
const sourceUrl = new URL('../../src/', import.meta.url).href;
const importTimeoutMs = 30_000;

/** Prints the URL of every module that importing its argument loads, by import or require. */
const listLoadedModules = `
  import { registerHooks } from 'node:module';
  import { pathToFileURL } from 'node:url';
  const loaded = [];
  registerHooks({ load: (url, context, next) => { loaded.push(url); return next(url, context); } });
  await import(pathToFileURL(process.argv[1]).href);
  process.stdout.write(loaded.join('\\n'));
`;

async function modulesLoadedBy(path: string): Promise<readonly string[]> {
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', listLoadedModules, path], {
    timeout: importTimeoutMs,
    maxBuffer: 16 * 1024 * 1024,
  });
  return stdout.split('\n');
}

/** `@temporalio/client` for …/node_modules/@temporalio/client/lib/index.js. */
function packageOf(url: string): string | undefined {
  return /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url)?.[1];
}

describe('walkback/client', () => {
  it(
    'walkback/client loads no worker, no S3 SDK and no database driver when it is imported',
    async () => {
      const loaded = await modulesLoadedBy(clientPath);
      const packages = new Set(loaded.map(packageOf));
      expect(packages).toContain('@temporalio/client');
      const heavy = [...packages].filter((name) =>
        /^(@temporalio\/(worker|core-bridge|activity|testing)|@aws-sdk\/|@smithy\/|@swc\/|pg($|-)|webpack$|zod$|pino$|execa$|commander$|yaml$)/.test(
          name ?? '',
        ),
      );
      expect(heavy).toEqual([]);
    },
    importTimeoutMs,
  );

  it(
    'walkback/client loads only domain, temporal, the contract and itself of our own modules',
    async () => {
      const loaded = await modulesLoadedBy(clientPath);
      const own = loaded.filter((url) => url.startsWith(sourceUrl)).map((url) => url.slice(sourceUrl.length));
      expect(own).toContain('client/index.ts');
      expect(own.filter((path) => !/^(client|domain|temporal)\/|^workflows\/contract\.ts$/.test(path))).toEqual([]);
    },
    importTimeoutMs,
  );
});
