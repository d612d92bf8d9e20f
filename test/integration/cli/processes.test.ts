import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type DemoProcess, type DemoSite, startDemoSite } from '../../../src/demo/demo-site.ts';
import { threadPoolSize } from '../../../src/files/thread-pool.ts';
import { freePort } from '../../harness/postgres.ts';
import { waitUntil } from '../../harness/wait-until.ts';
import { errorCodeOf, mainProgram, runCli, startCli } from './run-cli.ts';
import { querySource } from './shop.ts';

let site: DemoSite;
/** Those that run now. */
const running = new Map<'worker' | 'agent', DemoProcess>();

beforeAll(async () => {
  site = await startDemoSite({ withUi: false });
  running.set('worker', site.worker).set('agent', site.agent);
});
afterAll(() => site?.[Symbol.asyncDispose]());

async function isArchived(segment: string): Promise<boolean> {
  const [row] = await querySource<{ last: string | null }>(site, 'SELECT last_archived_wal AS last FROM pg_stat_archiver');
  return (row?.last ?? '') >= segment;
}

/** A command that makes another one believe that it is root. */
async function rootPretender(): Promise<readonly [string, ...string[]] | undefined> {
  const candidates = [['unshare', '--map-root-user'], ['fakeroot']] as const;
  for (const [program, ...args] of candidates) {
    const { stdout } = await execa(program, [...args, 'id', '-u'], { reject: false });
    if (stdout === '0') return [program, ...args];
  }
  return undefined;
}

describe('walkback worker and walkback agent', () => {
  it.each(['worker', 'agent'] as const)('walkback %s ends with exit code 0 when it gets SIGTERM', async (name) => {
    const child = running.get(name)?.child ?? site[name].child;
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    expect(await ended).toEqual([0, null]);
    running.set(name, await site.start(name));
  });

  it('walkback agent has as many threads for files as are synced at a time', async () => {
    const { pid } = running.get('agent')?.child ?? site.agent.child;
    const tasks = await readdir(`/proc/${pid}/task`);
    const names = await Promise.all(tasks.map(async (task) => readFile(`/proc/${pid}/task/${task}/comm`, 'utf8')));
    expect(names.filter((name) => name === 'libuv-worker\n')).toHaveLength(threadPoolSize);
  });

  it('walkback agent refuses to start when another one has its socket', async () => {
    const outcome = await runCli(site, ['agent', '--json']);
    expect(outcome.exitCode).toBe(3);
    expect(outcome.stdout).toContain('"ALREADY_RUNNING"');
  });

  it('walkback agent refuses to start when the configuration names no host id', async () => {
    const outcome = await runCli({ ...site, environment: { WALKBACK_CONFIG: '/dev/null' } }, ['agent']);
    expect(outcome.exitCode).toBe(2);
    expect(outcome.stderr).toContain('host.id');
    expect(outcome.stderr).toContain('Try: Set host.id in walkback.yaml or WALKBACK_HOST_ID.');
  });

  it('walkback agent refuses to run as root and says how to start it', async ({ skip }) => {
    const pretender = await rootPretender();
    if (pretender === undefined) return skip('neither `unshare --map-root-user` nor `fakeroot` works here');
    const [program, ...args] = pretender;
    const outcome = await execa(program, [...args, process.execPath, mainProgram, 'agent', '--json'], {
      env: site.environment,
      reject: false,
    });
    expect([outcome.exitCode, errorCodeOf(outcome)]).toEqual([2, 'RUNNING_AS_ROOT']);
    expect(outcome.stderr).toContain('setpriv --reuid=postgres');
  });

  it('walkback worker keeps trying when Temporal is down, and still ends with exit code 0', async () => {
    const environment = { ...site.environment, TEMPORAL_ADDRESS: `127.0.0.1:${await freePort()}` };
    const worker = startCli({ ...site, environment }, ['worker']);
    let said = '';
    worker.stderr.on('data', (text: Buffer) => (said += text.toString()));
    await waitUntil(() => said.includes('trying again'), { timeoutMs: 30_000, description: 'the worker has tried once' });
    worker.kill('SIGTERM');
    expect((await worker).exitCode).toBe(0);
    expect(said).not.toContain('is ready');
  });

  it('walkback agent archives WAL when Temporal is down', async () => {
    await runCli(site, ['enable', 'shop', '--allow-restart']);
    await running.get('agent')?.stop();
    const environment = { ...site.environment, TEMPORAL_ADDRESS: `127.0.0.1:${await freePort()}` };
    const agent = startCli({ ...site, environment }, ['agent']);
    try {
      await querySource(site, "SELECT pg_logical_emit_message(true, 'test', 'x')");
      const [row] = await querySource<{ segment: string }>(site, 'SELECT pg_walfile_name(pg_switch_wal()) AS segment');
      await waitUntil(() => isArchived(row?.segment ?? ''), { timeoutMs: 30_000, pollMs: 200, description: 'the segment is archived' });
    } finally {
      agent.kill('SIGTERM');
      expect((await agent).exitCode).toBe(0);
    }
  });
});
