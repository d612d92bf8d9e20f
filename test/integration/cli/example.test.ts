import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { restoreRequest, type Shop, startShop } from './shop.ts';

const example = fileURLToPath(new URL('../../../examples/restore-and-wait.ts', import.meta.url));
const exampleTimeoutMs = 60_000;
let shop: Shop;

beforeAll(async () => {
  shop = await startShop();
});
afterAll(() => shop?.site[Symbol.asyncDispose]());

/** Runs it as another service would: with Temporal's address and nothing else of ours. */
function runExample(args: readonly string[]) {
  const env = { TEMPORAL_ADDRESS: shop.site.temporal.address };
  return execa(process.execPath, [example, ...args], { cwd: shop.site.directory, env, reject: false, timeout: exampleTimeoutMs });
}

describe('examples/restore-and-wait.ts', () => {
  it('examples/restore-and-wait.ts prints the landing report when the restore has landed', async () => {
    const { cluster, host, dataDirectory, port } = await restoreRequest(shop, 'rolled-back');
    const ended = await runExample([cluster, host, shop.beforeFourth, 'rolled-back', dataDirectory, String(port)]);
    expect(ended.stderr).toContain(`started restore/demo-host${dataDirectory}`);
    expect(ended.exitCode).toBe(0);
    expect(ended.stdout).toMatch(/^restored +shop as rolled-back, on demo-host\n/);
    expect(ended.stderr).toMatch(/^(?:plan|check-host|flush-source): /m);
  });

  it('examples/restore-and-wait.ts tells the code and what to do when the restore is refused', async () => {
    const ended = await runExample(['shop', 'moon', shop.beforeFourth, 'never', '/nowhere', '5433']);
    expect(ended.exitCode).toBe(4);
    expect(ended.stderr).toContain('NO_AGENT_ON_HOST: No walkback agent answers on host "moon".');
    expect(ended.stdout).toBe('');
  });
});
