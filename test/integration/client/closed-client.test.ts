import { expect, it } from 'vitest';
import { createWalkbackClient } from '../../../src/client/walkback-client.ts';
import { startTemporalDevServer } from '../../../src/demo/local-services/temporal-server.ts';

it('a client that is closed while Temporal is away ends what it was asked, and not the process that uses it', async () => {
  await using temporal = await startTemporalDevServer({ uiPort: false, searchAttributes: {} });
  const client = await createWalkbackClient({ address: temporal.address });
  await temporal.close();
  const asked = Promise.allSettled([client.hasWorker(), client.getBackup('backup/shop').result()]);
  await client.close();
  const unreachable = expect.objectContaining({ code: 'TEMPORAL_UNREACHABLE' }) as Error;
  expect(await asked).toEqual(Array.from({ length: 2 }, () => ({ status: 'rejected', reason: unreachable })));
  // Asked only now, with nothing under way.
  await expect(client.hasWorker()).rejects.toMatchObject({ code: 'TEMPORAL_UNREACHABLE' });
});
