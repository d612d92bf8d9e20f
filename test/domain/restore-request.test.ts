import { describe, expect, it } from 'vitest';
import { parseInstant } from '../../src/domain/instant.ts';
import { completeRestoreRequest, isClusterName, type RestoreRequest } from '../../src/domain/restore-request.ts';
import { thrownBy } from './support/thrown.ts';

const now = new Date('2026-11-22T12:00:00Z');
const request: RestoreRequest = {
  cluster: 'shop',
  name: 'shop-1157',
  host: 'db1',
  target: { kind: 'time', time: parseInstant('2026-11-22T11:57:00Z') },
  dataDirectory: '/var/lib/postgresql/shop-1157',
  port: 5433,
};
const generated = { kind: 'generate' } as const;

/** The request with fields that no type would let pass. */
function withFields(fields: Record<string, unknown>): RestoreRequest {
  return { ...request, ...fields };
}

describe('completeRestoreRequest fills in defaults', () => {
  it('completeRestoreRequest keeps the source, proves an early end, promotes, locks other roles', () => {
    expect(completeRestoreRequest(request, now)).toEqual({
      ...request,
      timeline: 'latest',
      allowFrom: ['127.0.0.1/32', '::1/128'],
      source: 'keep',
      onEarlyEnd: 'promote-if-complete',
      atTarget: 'promote',
      roles: [],
      otherLoginRoles: 'lock',
      checks: [],
      protect: false,
    });
  });

  it('completeRestoreRequest keeps what is asked for, and changes nothing when completed again', () => {
    const asked: RestoreRequest = {
      ...request,
      listenAddresses: '10.0.0.5, localhost',
      allowFrom: ['10.0.0.0/8', 'fd00::/8'],
      source: 'stop',
      retireHours: 24,
      onEarlyEnd: 'fail',
      atTarget: 'pause',
      timeline: 3,
      backup: 'base_000000010000000000000007',
      decisionWithinMinutes: 90,
      hostReturnsWithinMinutes: 2,
      roles: [{ role: 'app', newName: 'app_1157', password: { kind: 'file', path: '/etc/walkback/app' }, oldPasswordFile: '/etc/old' }],
      otherLoginRoles: 'keep',
      checks: [{ sql: 'SELECT count(*) FROM customers', expected: '5' }],
      protect: true,
    };
    const complete = completeRestoreRequest(asked, now);
    expect(complete).toEqual(asked);
    expect(completeRestoreRequest(complete, now)).toEqual(complete);
  });

  it('completeRestoreRequest brings the target to UTC', () => {
    const local = withFields({ target: { kind: 'time', time: '2026-11-22 12:57:00+01' } });
    expect(completeRestoreRequest(local, now).target).toEqual(request.target);
  });
});

describe('completeRestoreRequest refuses', () => {
  it.each<[string, Record<string, unknown>]>([
    ['cluster:', { cluster: '' }],
    ['cluster:', { cluster: '../shop' }],
    ['cluster:', { cluster: 'a'.repeat(64) }],
    ['cluster:', { cluster: undefined }],
    ['name:', { name: '-shop' }],
    ['name: the restored cluster needs a name of its own', { name: 'shop' }],
    ['host:', { host: 'db 1' }],
    ['dataDirectory:', { dataDirectory: 'relative/path' }],
    ['dataDirectory:', { dataDirectory: '/' }],
    ['dataDirectory:', { dataDirectory: '/srv/../etc' }],
    ['dataDirectory:', { dataDirectory: '/srv/..' }],
    ['dataDirectory:', { dataDirectory: '/srv/\0' }],
    ['dataDirectory:', { dataDirectory: `/${'a'.repeat(1024)}` }],
    ['dataDirectory:', { dataDirectory: undefined }],
    ['port:', { port: 0 }],
    ['port:', { port: 65_536 }],
    ['port:', { port: 5432.5 }],
    ['port:', { port: '5432' }],
    ['target:', { target: undefined }],
    ['target:', { target: { kind: 'lsn' } }],
    ['target:', { target: { kind: 'time' } }],
    ['target:', { target: { kind: 'time', time: 1_763_812_620 } }],
    ['allowFrom:', { allowFrom: '10.0.0.0/8' }],
    ['roles: a list', { roles: 'app' }],
    ['roles: a list', { roles: [null] }],
    ['checks: a list', { checks: [null] }],
    ['roles: oldPasswordFile of "a"', { roles: [{ role: 'a', newName: 'b', password: generated, oldPasswordFile: 'old' }] }],
    ['roles: the password of "b"', { roles: [{ role: 'a', newName: 'b', password: { kind: 'vault', path: '/a' } }] }],
    ['source:', { source: 'pause' }],
    ['source:', { source: null }],
    ['onEarlyEnd:', { onEarlyEnd: 'shrug' }],
    ['timeline:', { timeline: 0 }],
    ['timeline:', { timeline: 'newest' }],
    ['backup:', { backup: 'yesterday' }],
    ['decisionWithinMinutes:', { decisionWithinMinutes: 0 }],
    ['atTarget:', { atTarget: 'shutdown' }],
    ['atTarget: there is nothing to pause at', { atTarget: 'pause', target: { kind: 'latest' } }],
    ['otherLoginRoles:', { otherLoginRoles: 'drop' }],
    ['allowOlderBackup:', { allowOlderBackup: 'yes' }],
    ['allowOlderBackup: the request names', { allowOlderBackup: true, backup: 'base_000000010000000000000005' }],
    ['allowMissingLibraries:', { allowMissingLibraries: 1 }],
    ['allowFrom:', { allowFrom: ['10.0.0.1'] }],
    ['allowFrom:', { allowFrom: ['all'] }],
    ['allowFrom:', { allowFrom: ['0.0.0.0/0\nhost all all'] }],
    ['listenAddresses:', { listenAddresses: "*'\nport = 1" }],
    ['roles: role and newName', { roles: [{ role: '', newName: 'b', password: generated }] }],
    ['roles: role and newName', { roles: [{ role: 'a', newName: 'ü'.repeat(32), password: generated }] }],
    ['roles: nothing is to change about "a"', { roles: [{ role: 'a', newName: 'a', password: { kind: 'keep' } }] }],
    ['retireHours:', { retireHours: 24 }],
    ['retireHours:', { retireHours: 0, source: 'stop' }],
    ['protect:', { protect: 'yes' }],
    ['roles: the password of "b"', { roles: [{ role: 'a', newName: 'b', password: { kind: 'file', path: 'relative' } }] }],
    ['roles: the password of "b"', { roles: [{ role: 'a', newName: 'b', password: 'secret' }] }],
    ['roles: the password of "b"', { roles: [{ role: 'a', newName: 'b' }] }],
    [
      'roles: every old and new name may occur once',
      {
        roles: [
          { role: 'a', newName: 'b', password: generated },
          { role: 'b', newName: 'c', password: generated },
        ],
      },
    ],
    [
      'roles: at most 100',
      { roles: Array.from({ length: 101 }, (_, index) => ({ role: `a${index}`, newName: `b${index}`, password: generated })) },
    ],
    ['checks:', { checks: [{ sql: ' ', expected: '1' }] }],
    ['checks:', { checks: [{ sql: 'SELECT 1', expected: 1 }] }],
    ['checks:', { checks: [{ sql: 'SELECT 1' }] }],
    ['checks:', { checks: [{ sql: `SELECT '${'x'.repeat(4096)}'`, expected: '1' }] }],
    ['checks: at most 100', { checks: Array.from({ length: 101 }, () => ({ sql: 'SELECT 1', expected: '1' })) }],
  ])('completeRestoreRequest names the problem "%s" in %j', async (problem, fields) => {
    const error = await thrownBy(() => completeRestoreRequest(withFields(fields), now));
    expect(error.code).toBe('INVALID_REQUEST');
    expect(error.facts.problems).toContainEqual(expect.stringContaining(problem));
    expect(error.message).toContain(problem);
  });

  it.each([undefined, null, 'shop', 7])('completeRestoreRequest refuses %j for a request', async (nothing) => {
    const error = await thrownBy(() => completeRestoreRequest(nothing as unknown as RestoreRequest, now));
    expect(error.code).toBe('INVALID_REQUEST');
  });

  it('completeRestoreRequest names every problem at once', async () => {
    const error = await thrownBy(() => completeRestoreRequest(withFields({ port: -1, host: '', source: 'x' }), now));
    expect(error.facts.problems).toHaveLength(3);
  });

  it('completeRestoreRequest never repeats a password that was sent by mistake', async () => {
    const roles = [{ role: 'a', newName: 'b', password: { kind: 'clear', text: 'tops3cret' } }];
    const error = await thrownBy(() => completeRestoreRequest(withFields({ roles }), now));
    expect(JSON.stringify([error.message, error.hint, error.facts])).not.toContain('tops3cret');
  });

  it('completeRestoreRequest refuses a target without offset, and one in the future', async () => {
    const bare = withFields({ target: { kind: 'time', time: '2026-11-22 11:57:00' } });
    expect((await thrownBy(() => completeRestoreRequest(bare, now))).code).toBe('INVALID_INSTANT');
    const future = withFields({ target: { kind: 'time', time: '2026-11-22T12:00:00.001Z' } });
    expect((await thrownBy(() => completeRestoreRequest(future, now))).code).toBe('TARGET_IN_FUTURE');
    expect(completeRestoreRequest(withFields({ target: { kind: 'time', time: '2026-11-22T12:00:00Z' } }), now).target.kind).toBe('time');
  });
});

describe('isClusterName', () => {
  it.each(['shop', 'Shop_1-eu-west', '1', 'a'.repeat(63)])('isClusterName accepts %j', (name) => {
    expect(isClusterName(name)).toBe(true);
  });

  it.each(['', '.', '..', '.shop', '_shop', 'shop/eu', 'shop eu', 'shöp', 'shop\n', 'a'.repeat(64), 7, null, undefined])(
    'isClusterName refuses %j',
    (name) => {
      expect(isClusterName(name)).toBe(false);
    },
  );
});
