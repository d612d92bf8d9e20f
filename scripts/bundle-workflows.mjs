// Bundles src/workflows for Temporal's workflow sandbox, which refuses what a workflow must not import, and says how large the bundle is.
// `node scripts/bundle-workflows.mjs [FILE]` also writes it to FILE. Needs the packages of `npm ci` and Node 22.18 or newer.

import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DefaultLogger, bundleWorkflowCode } from '@temporalio/worker';
import { packageRoot } from './setup/places.mjs';

const [outputPath] = process.argv.slice(2);
const logger = new DefaultLogger('WARN');
const { code } = await bundleWorkflowCode({ workflowsPath: join(packageRoot, 'src', 'workflows', 'index.ts'), logger });
if (outputPath !== undefined) {
  await mkdir(dirname(outputPath), { recursive: true });
  await writeFile(outputPath, code);
}
process.stdout.write(`workflow bundle: ${(Buffer.byteLength(code) / 1_000_000).toFixed(1)} MB\n`);
