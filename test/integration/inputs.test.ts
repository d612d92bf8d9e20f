import { existsSync } from 'node:fs';
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ask } from '../../src/client/ask.ts';
import { createWalkbackClient } from '../../src/client/walkback-client.ts';
import { demoCluster, demoHost, type DemoSite } from '../../src/demo/demo-site.ts';
import { restoreWorkflowId } from '../../src/domain/workflow-ids.ts';
import { freePort } from '../harness/postgres.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { type CliOutcome, documentOf, errorCodeOf, runCli, startCli } from './cli/run-cli.ts';
import { restoreRequest, type Shop, startShop } from './cli/shop.ts';
import { executions, scheduledActivities, withTemporal } from './cli/temporal.ts';
import { openArchive } from './faults/stored-objects.ts';

let shop: Shop;
let site: DemoSite;

beforeAll(async () => {
  shop = await startShop();
  ({ site } = shop);
});
afterAll(() => site?.[Symbol.asyncDispose]());

/** A restore as arguments; what a test gives replaces what would be right. */
interface Given {
  readonly cluster?: string;
  readonly to?: string;
  readonly as?: string;
  readonly dataDirectory?: string;
  readonly port?: number | string;
  readonly more?: readonly string[];
  /** Over the site's. */
  readonly environment?: Readonly<Record<string, string>>;
}

async function restore(given: Given): Promise<CliOutcome> {
  const { as = 'refused', cluster = demoCluster, to = shop.beforeFourth, dataDirectory = join(site.directory, as), more = [] } = given;
  const port = String(given.port ?? (await freePort()));
  const args = ['restore', cluster, '--to', to, '--as', as, '--data-directory', dataDirectory, '--port', port, '--json', ...more];
  return await runCli({ ...site, environment: { ...site.environment, ...given.environment } }, args);
}

/** The claims that the agent keeps on disk; the folder is made with the first. */
async function claims(): Promise<string[]> {
  const directory = join(site.directory, 'agent', 'restored');
  return existsSync(directory) ? (await readdir(directory)).toSorted() : [];
}

/** Host activities that may run before a refusal: they only look. */
const lookingActivities = ['planRestore', 'checkHost'];

async function restoreIds(): Promise<string[]> {
  return await withTemporal(site, async (client) => {
    const all = await executions(client);
    return all.filter(({ workflowId }) => workflowId.startsWith('restore/')).map(({ workflowId }) => workflowId);
  });
}

describe('restore inputs that are refused before anything is started', () => {
  let idsBefore: readonly string[];
  let claimsBefore: readonly string[];

  beforeEach(async () => {
    [idsBefore, claimsBefore] = await Promise.all([restoreIds(), claims()]);
  });
  afterEach(async () => {
    expect(await restoreIds()).toEqual(idsBefore);
    expect(await claims()).toEqual(claimsBefore);
    expect(existsSync(join(site.directory, 'refused'))).toBe(false);
  });

  it('A5: a bare time is refused and both readings are shown when --to has no offset', async () => {
    const outcome = await restore({ to: '2026-11-22 11:57:00' });
    expect([outcome.exitCode, errorCodeOf(outcome)]).toEqual([2, 'INVALID_INSTANT']);
    expect(outcome.stderr).toContain('"2026-11-22 11:57:00" has no offset, so it is not one instant.');
    expect(outcome.stderr).toMatch(/2026-11-22T11:57:00Z \(UTC\), .*2026-11-22T11:57:00\+02:00/);
  });

  it.each(['yesterday', '2026-02-30T00:00:00Z', '2026-11-22T25:00:00Z', '1700000000', ''])(
    'the time "%s" is refused with INVALID_INSTANT when it is given to --to',
    async (to) => {
      const outcome = await restore({ to });
      expect([outcome.exitCode, errorCodeOf(outcome)]).toEqual([2, 'INVALID_INSTANT']);
    },
  );

  it('A4: a future time is refused with TARGET_IN_FUTURE', async () => {
    const outcome = await restore({ to: '2999-01-01T00:00:00Z' });
    expect([outcome.exitCode, errorCodeOf(outcome)]).toEqual([3, 'TARGET_IN_FUTURE']);
    expect(outcome.stderr).toContain('2999-01-01 00:00:00 UTC is after now');
  });

  it('an unknown cluster is refused and the nearest one named', async () => {
    const outcome = await restore({ cluster: 'shpo' });
    expect([outcome.exitCode, errorCodeOf(outcome)]).toEqual([2, 'UNKNOWN_CLUSTER']);
    expect(outcome.stderr).toContain('No cluster "shpo" is configured, did you mean shop?');
  });

  it('a relative data directory is refused', async () => {
    const outcome = await restore({ dataDirectory: 'refused' });
    expect([outcome.exitCode, errorCodeOf(outcome)]).toEqual([2, 'INVALID_REQUEST']);
    expect(outcome.stderr).toContain('dataDirectory: an absolute path');
  });

  it.each(['0', '65536', '5432x', '-1'])('the port %s is refused as usage', async (port) => {
    const outcome = await restore({ port });
    expect([outcome.exitCode, errorCodeOf(outcome)]).toEqual([2, 'INVALID_REQUEST']);
    expect(outcome.stderr).toContain('A port is a number from 1 to 65535.');
  });

  it('a missing option is refused as usage, with a document under --json', async () => {
    const outcome = await runCli(site, ['restore', demoCluster, '--json']);
    expect([outcome.exitCode, errorCodeOf(outcome)]).toEqual([2, 'INVALID_REQUEST']);
    expect(outcome.stderr).toContain("required option '--to <target>' not specified");
  });

  it('Temporal down is told within seconds', async () => {
    const address = `127.0.0.1:${await freePort()}`;
    const outcome = await restore({ environment: { TEMPORAL_ADDRESS: address } });
    expect([outcome.exitCode, errorCodeOf(outcome)]).toEqual([4, 'TEMPORAL_UNREACHABLE']);
    expect(outcome.stderr).toContain(`Temporal does not answer at ${address}`);
    expect(outcome.milliseconds).toBeLessThan(15_000);
  });

  it('a host where no agent has answered is told within seconds', async () => {
    const outcome = await restore({ more: ['--host', 'moon'] });
    expect([outcome.exitCode, errorCodeOf(outcome)]).toEqual([4, 'NO_AGENT_ON_HOST']);
    expect(outcome.stderr).toContain('No walkback agent answers on host "moon".');
    expect(outcome.milliseconds).toBeLessThan(15_000);
  });

  it('startRestore names every problem of a malformed request', async () => {
    const request = {
      cluster: 'no such name!',
      name: '',
      host: demoHost,
      target: { kind: 'soon' },
      dataDirectory: '../x',
      port: '5433',
      onEarlyEnd: 'guess',
      roles: [{ role: 'a', newName: 'a', password: 'secret' }],
      checks: [{ sql: '' }],
      allowFrom: ['everybody'],
    };
    const error = await site.client.startRestore(request as never).catch((thrown: unknown) => thrown as Error);
    expect(error).toMatchObject({ name: 'WalkbackError', code: 'INVALID_REQUEST' });
    for (const field of ['cluster:', 'name:', 'target:', 'dataDirectory:', 'port:', 'onEarlyEnd:', 'roles:', 'checks:', 'allowFrom:'])
      expect((error as Error).message).toContain(field);
    expect((error as Error).message).not.toContain('secret');
  });

  it.each([[undefined], [null], ['shop'], [{}], [{ roles: 'x', checks: 1, allowFrom: 'y' }], [{ roles: [null], checks: [null] }]])(
    'startRestore refuses %j with INVALID_REQUEST',
    async (request) => {
      await expect(site.client.startRestore(request as never)).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
    },
  );
});

describe('restore inputs that are refused by the workflow before any work', () => {
  /** What is refused only looks, claims nothing and makes nothing. */
  async function refusedByWorkflow(given: Given & { readonly as: string }): Promise<CliOutcome> {
    const claimsBefore = await claims();
    const dataDirectory = given.dataDirectory ?? join(site.directory, given.as);
    const existed = existsSync(dataDirectory);
    const outcome = await restore(given);
    const id = restoreWorkflowId(demoHost, dataDirectory);
    const activities = await withTemporal(site, (client) => scheduledActivities(client, id));
    expect(activities.filter((name) => !lookingActivities.includes(name))).toEqual([]);
    expect(await claims()).toEqual(claimsBefore);
    expect(existsSync(dataDirectory)).toBe(existed);
    return outcome;
  }

  it('A4: a time before the first backup is refused and the first restorable instant told', async () => {
    const outcome = await refusedByWorkflow({ as: 'too-early', to: '2020-01-01T00:00:00Z' });
    expect([outcome.exitCode, errorCodeOf(outcome)]).toEqual([3, 'NO_BACKUP_BEFORE_TARGET']);
    expect(outcome.stderr).toMatch(/\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}(\.\d+)? UTC/);
  });

  it('a directory that is not empty is refused and left as it is', async () => {
    const dataDirectory = join(site.directory, 'occupied');
    await mkdir(dataDirectory);
    await writeFile(join(dataDirectory, 'thesis.txt'), 'the only copy');
    const outcome = await refusedByWorkflow({ as: 'occupied' });
    expect([outcome.exitCode, errorCodeOf(outcome)]).toEqual([3, 'DATA_DIRECTORY_NOT_EMPTY']);
    expect(await readdir(dataDirectory)).toEqual(['thesis.txt']);
  });

  it('the directory of a running server is refused', async () => {
    const outcome = await refusedByWorkflow({ as: 'over-source', dataDirectory: site.source.dataDirectory });
    expect([outcome.exitCode, errorCodeOf(outcome)]).toEqual([3, 'DATA_DIRECTORY_IN_USE']);
    expect(outcome.stderr).toContain(`A server runs on ${site.source.dataDirectory}.`);
  });

  it('a port that something listens on is refused', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    try {
      const outcome = await refusedByWorkflow({ as: 'port-taken', port });
      expect([outcome.exitCode, errorCodeOf(outcome)]).toEqual([3, 'PORT_IN_USE']);
      expect(outcome.stderr).toContain(`Port ${port} is taken`);
    } finally {
      server.close();
    }
  });

  it('a password file that is missing or that others may read is refused without a word of it', async () => {
    const open = join(site.directory, 'open-password');
    await writeFile(open, 'hunter2-is-the-password\n');
    await chmod(open, 0o644);
    for (const [index, path] of [join(site.directory, 'no-such-file'), open].entries()) {
      const outcome = await refusedByWorkflow({ as: `secret-${index}`, more: ['--role', `shop_owner=shop_2,password=${path}`] });
      expect([outcome.exitCode, errorCodeOf(outcome)]).toEqual([2, 'SECRET_UNREADABLE']);
      expect(outcome.stderr).toContain(path);
      expect(outcome.stderr + outcome.stdout).not.toContain('hunter2');
    }
  });

  it('a name, a port and a directory that another restore has taken are refused, naming it', async () => {
    const holder = await restoreRequest(shop, 'holder', { atTarget: 'pause' });
    const handle = await site.client.startRestore(holder);
    await waitUntil(async () => (await handle.progress()).phase === 'paused-at-target', {
      timeoutMs: 40_000,
      pollMs: 300,
      description: 'the holder is paused',
    });
    const name = await refusedByWorkflow({ as: 'holder', dataDirectory: join(site.directory, 'elsewhere') });
    expect([name.exitCode, errorCodeOf(name)]).toEqual([3, 'NAME_IN_USE']);
    expect(name.stderr).toContain('is taken by the running restore "holder"');
    const port = await refusedByWorkflow({ as: 'other-port', port: holder.port });
    expect([port.exitCode, errorCodeOf(port)]).toEqual([3, 'PORT_IN_USE']);
    const same = await restore({ as: 'holder' });
    expect([same.exitCode, errorCodeOf(same)]).toEqual([3, 'ALREADY_RUNNING']);
    expect(same.stderr).toContain(`walkback status ${handle.workflowId}`);
    await handle.cancel();
    await expect(handle.result()).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(await claims()).not.toContainEqual(expect.stringContaining('holder'));
  });

  it('a name whose archive holds something already is refused, naming what', async () => {
    await using archive = openArchive(site, 'of-somebody');
    await archive.put('wal_005/000000010000000000000001.zst', Buffer.from('the WAL of another cluster'));
    const outcome = await refusedByWorkflow({ as: 'of-somebody' });
    expect([outcome.exitCode, errorCodeOf(outcome)]).toEqual([3, 'ARCHIVE_PREFIX_IN_USE']);
    expect(outcome.stderr).toContain('it holds wal_005/000000010000000000000001.zst');
    const plan = await site.client.planRestore(await restoreRequest(shop, 'of-somebody'));
    expect(plan.checks.find((check) => check.name === 'archive')).toMatchObject({ refusal: { code: 'ARCHIVE_PREFIX_IN_USE' } });
  });

  it('the name of a configured cluster is refused', async () => {
    const outcome = await restore({ as: demoCluster, dataDirectory: join(site.directory, 'second-shop') });
    expect([outcome.exitCode, errorCodeOf(outcome)]).toEqual([2, 'INVALID_REQUEST']);
    expect(outcome.stderr).toContain('name: the restored cluster needs a name of its own');
  });

  it('what the check claimed is given back when the restore is cancelled before it makes anything', async ({ skip }) => {
    const { server } = site.s3;
    if (server === undefined) return skip('the given S3 endpoint cannot be made to hold a request');
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    // The flush waits for its segment in the archive, which is kept from arriving.
    server.faults = ({ method, key }) => (method === 'PUT' && /wal_\d+/.test(key) ? { kind: 'hold-request', until: released } : undefined);
    try {
      const handle = await site.client.startRestore(await restoreRequest(shop, 'flush-cancelled', { target: { kind: 'latest' } }));
      await waitUntil(async () => (await handle.progress()).phase === 'flush-source', { timeoutMs: 20_000, description: 'it flushes' });
      expect(await claims()).toContainEqual(expect.stringContaining('flush-cancelled'));
      await handle.cancel();
      await expect(handle.result()).rejects.toMatchObject({ code: 'CANCELLED' });
    } finally {
      release();
      server.faults = undefined;
    }
    expect(await claims()).not.toContainEqual(expect.stringContaining('flush-cancelled'));
    expect(existsSync(join(site.directory, 'flush-cancelled'))).toBe(false);
  });
});

describe('a worker that cannot work', () => {
  /** A second worker on a task queue of its own, with a configuration that is wrong. */
  async function withWorker<T>(
    wrong: Readonly<Record<string, string>>,
    use: (environment: Record<string, string>) => Promise<T>,
  ): Promise<T> {
    const environment = { ...site.environment, ...wrong, WALKBACK_TEMPORAL_TASK_QUEUE: `wrong-${crypto.randomUUID()}` };
    const worker = startCli({ ...site, environment }, ['worker']);
    let said = '';
    worker.stderr.on('data', (text: Buffer) => (said += text.toString()));
    try {
      await waitUntil(() => said.includes('walkback worker is ready'), { timeoutMs: 30_000, description: 'the worker is ready' });
      return await use(environment);
    } finally {
      worker.kill('SIGTERM');
      await worker;
    }
  }

  it('wrong credentials are told as STORAGE_ACCESS_DENIED without the secret', async () => {
    await withWorker({ AWS_SECRET_ACCESS_KEY: 'wrong-secret-key' }, async (environment) => {
      const outcome = await restore({ as: 'denied', environment });
      expect([outcome.exitCode, errorCodeOf(outcome)]).toEqual([4, 'STORAGE_ACCESS_DENIED']);
      expect(outcome.stderr + outcome.stdout).not.toContain('wrong-secret-key');
      const listed = await runCli({ ...site, environment }, ['backups', demoCluster, '--json']);
      expect([listed.exitCode, errorCodeOf(listed)]).toEqual([4, 'STORAGE_ACCESS_DENIED']);
    });
    expect(existsSync(join(site.directory, 'denied'))).toBe(false);
  });

  it('a bucket that does not exist is told by its name', async () => {
    await withWorker({ WALKBACK_STORAGE_PREFIX: 's3://no-such-bucket/x' }, async (environment) => {
      const outcome = await restore({ as: 'no-bucket', environment });
      expect([2, 3, 4]).toContain(outcome.exitCode);
      expect(outcome.stderr).toContain('no-such-bucket');
    });
    expect(existsSync(join(site.directory, 'no-bucket'))).toBe(false);
  });

  it('a question to an archive that no worker answers in time says so', async () => {
    await withTemporal(site, async (client) => {
      const question = { type: 'listBaseBackups', name: 'backups', input: { cluster: demoCluster }, about: demoCluster, withinMs: 2000 };
      await expect(ask(client, `nobody-${crypto.randomUUID()}`, question)).rejects.toMatchObject({
        code: 'NO_WORKER',
        message: expect.stringMatching(/within 2 s: no walkback worker is there\.$/),
      });
    });
  });

  it('no worker at all is noted within seconds, and the restore waits until one comes', async () => {
    const queue = `nobody-${crypto.randomUUID()}`;
    const environment = { ...site.environment, WALKBACK_TEMPORAL_TASK_QUEUE: queue };
    const args = ['restore', demoCluster, '--to', shop.beforeFourth, '--as', 'waits', '--data-directory', join(site.directory, 'waits')];
    const waiting = startCli({ ...site, environment }, [...args, '--port', String(await freePort())]);
    let said = '';
    waiting.stderr.on('data', (text: Buffer) => (said += text.toString()));
    await waitUntil(() => said.includes('No worker answers yet'), { timeoutMs: 15_000, description: 'it is noted' });
    await using client = await createWalkbackClient({ address: site.temporal.address, taskQueue: queue });
    const handle = client.getRestore(restoreWorkflowId(demoHost, join(site.directory, 'waits')));
    await expect(handle.progress()).rejects.toMatchObject({ code: 'NO_WORKER' });
    await handle.cancel();
    const worker = startCli({ ...site, environment }, ['worker']);
    const { exitCode } = await waiting;
    expect(exitCode).toBe(1);
    worker.kill('SIGTERM');
    await worker;
    expect(existsSync(join(site.directory, 'waits'))).toBe(false);
  });
});

describe('an agent that is gone', () => {
  it('a restore is refused with NO_AGENT_ON_HOST when the agent was stopped', async () => {
    await site.agent.stop();
    const outcome = await restore({ as: 'no-agent' });
    expect([outcome.exitCode, errorCodeOf(outcome)]).toEqual([4, 'NO_AGENT_ON_HOST']);
    expect(documentOf(outcome)).toMatchObject({ error: { facts: { host: demoHost } } });
    expect(existsSync(join(site.directory, 'no-agent'))).toBe(false);
    expect(outcome.milliseconds).toBeLessThan(60_000);
  });

  it('the name of another configured cluster is refused when the agent knows it, though that one was never archived', async () => {
    const configuration = parse(await readFile(site.configFile, 'utf8')) as { clusters: Record<string, object> };
    configuration.clusters['till'] = { data_directory: join(site.directory, 'till-data'), user: 'postgres' };
    await writeFile(site.configFile, stringify(configuration));
    await site.start('agent');
    const outcome = await restore({ as: 'till' });
    expect([outcome.exitCode, errorCodeOf(outcome)]).toEqual([3, 'NAME_IN_USE']);
    expect(outcome.stderr).toContain('till-data');
    expect(existsSync(join(site.directory, 'till'))).toBe(false);
  });
});
