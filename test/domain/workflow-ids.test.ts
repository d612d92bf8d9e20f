import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { backupWorkflowId, enableWorkflowId, restoreWorkflowId, scheduleIdOf, verifyWorkflowId } from '../../src/domain/workflow-ids.ts';

/** What Temporal allows for an id where it runs on SQL. */
const idMaximumBytes = 255;
const asciiPart = fc.stringMatching(/^[A-Za-z0-9_.-]{1,24}$/).filter((part) => part !== '.' && part !== '..');
const pathParts = fc.array(asciiPart, { minLength: 1, maxLength: 12 });
const hosts = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/);
const slashes = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 13, maxLength: 13 });

function byteLength(text: string): number {
  return new TextEncoder().encode(text).length;
}

describe('restoreWorkflowId', () => {
  it('restoreWorkflowId names host and directory', () => {
    expect(restoreWorkflowId('db1', '/var/lib/postgresql/shop')).toBe('restore/db1/var/lib/postgresql/shop');
  });

  it('restoreWorkflowId is the same however many slashes a path is written with', () => {
    fc.assert(
      fc.property(hosts, pathParts, slashes, (host, parts, counts) => {
        const odd = `${parts.map((part, index) => '/'.repeat(counts[index]!) + part).join('')}${'/'.repeat(counts.at(-1)! - 1)}`;
        expect(restoreWorkflowId(host, odd)).toBe(restoreWorkflowId(host, `/${parts.join('/')}`));
      }),
    );
  });

  it('restoreWorkflowId is the same for a path with "." parts', () => {
    expect(restoreWorkflowId('db1', '/srv/./shop/.')).toBe(restoreWorkflowId('db1', '/srv/shop'));
  });

  it('restoreWorkflowId differs for different hosts and directories', () => {
    fc.assert(
      fc.property(hosts, pathParts, hosts, pathParts, (host, parts, otherHost, otherParts) => {
        const [path, otherPath] = [`/${parts.join('/')}`, `/${otherParts.join('/')}`];
        const same = host === otherHost && path === otherPath;
        expect(restoreWorkflowId(host, path) === restoreWorkflowId(otherHost, otherPath)).toBe(same);
      }),
    );
  });

  it('restoreWorkflowId tells long paths apart that differ only in the middle', () => {
    const path = (middle: string) => `/srv/${'a'.repeat(200)}/${middle}/${'b'.repeat(200)}`;
    expect(restoreWorkflowId('db1', path('one'))).not.toBe(restoreWorkflowId('db1', path('two')));
    expect(restoreWorkflowId('db1', path('one'))).toBe(restoreWorkflowId('db1', path('one')));
  });

  it('restoreWorkflowId fits into 255 bytes for a path of any length', () => {
    fc.assert(
      fc.property(hosts, fc.array(asciiPart, { minLength: 1, maxLength: 60 }), (host, parts) => {
        expect(byteLength(restoreWorkflowId(host, `/${parts.join('/')}`))).toBeLessThanOrEqual(idMaximumBytes);
      }),
    );
  });
});

describe('restoreWorkflowId with a path beyond ASCII', () => {
  it('restoreWorkflowId fits into 255 bytes and holds whole characters', () => {
    fc.assert(
      fc.property(hosts, fc.string({ unit: 'grapheme', maxLength: 1000 }), (host, path) => {
        const id = restoreWorkflowId(host, `/${path}`);
        expect(byteLength(id)).toBeLessThanOrEqual(idMaximumBytes);
        expect(id.isWellFormed()).toBe(true);
      }),
    );
  });
});

describe('ids of a cluster', () => {
  it('ids of a cluster are fixed, and one for each operation', () => {
    const ids = [backupWorkflowId('shop'), enableWorkflowId('shop'), scheduleIdOf('backup', 'shop')];
    expect(ids).toEqual(['backup/shop', 'enable/shop', 'backup-schedule/shop']);
  });

  it('ids of the longest cluster name fit into 255 bytes', () => {
    for (const id of [backupWorkflowId, enableWorkflowId, verifyWorkflowId]) {
      expect(byteLength(id('a'.repeat(63)))).toBeLessThanOrEqual(idMaximumBytes);
    }
  });
});
