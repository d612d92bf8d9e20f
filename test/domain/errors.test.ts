import { describe, expect, it } from 'vitest';
import {
  type ErrorCode,
  errorCatalogue,
  type ErrorEntry,
  exitCodeOfCategory,
  isErrorCode,
  messageOf,
  WalkbackError,
} from '../../src/domain/errors.ts';

const entries = Object.entries(errorCatalogue) as [ErrorCode, ErrorEntry][];
const sentence = /^[A-Z`].*[^.]\.$/;

describe('errorCatalogue', () => {
  it.each(entries)('errorCatalogue describes %s in sentences', (code, entry) => {
    expect(code).toMatch(/^[A-Z]+(_[A-Z]+)*$/);
    expect(entry.title).toMatch(sentence);
    expect(entry.hint).toMatch(sentence);
    expect(entry.title).not.toBe(entry.hint);
    expect(exitCodeOfCategory[entry.category]).toBeGreaterThan(0);
  });

  it('errorCatalogue has no title twice', () => {
    const titles = entries.map(([, entry]) => entry.title);
    expect(new Set(titles).size).toBe(titles.length);
  });

  it('errorCatalogue never retries bad input, refusals or damage', () => {
    const retried = entries.filter(([, entry]) => entry.retryable && !['unavailable', 'failed'].includes(entry.category));
    expect(retried).toEqual([]);
  });
});

describe('exitCodeOfCategory', () => {
  it('exitCodeOfCategory gives each category a code of its own, below those of the shell', () => {
    const codes = Object.values(exitCodeOfCategory);
    expect(new Set(codes).size).toBe(codes.length);
    expect(codes.every((code) => code >= 1 && code < 64)).toBe(true);
  });
});

describe('WalkbackError', () => {
  it.each(entries)('WalkbackError takes hint, exit code and retries of %s from the catalogue', (code, entry) => {
    const error = new WalkbackError(code, 'It went wrong.');
    expect(error).toMatchObject({ name: 'WalkbackError', code, message: 'It went wrong.', hint: entry.hint, facts: {} });
    expect(error.retryable).toBe(entry.retryable);
    expect(error.exitCode).toBe(exitCodeOfCategory[entry.category]);
    expect(error.cause).toBeUndefined();
  });

  it('WalkbackError keeps facts, an own hint and the cause', () => {
    const cause = new Error('below');
    const error = new WalkbackError('INTERNAL', 'Above.', { facts: { port: 1 }, hint: 'Look below.', cause });
    expect(error).toMatchObject({ facts: { port: 1 }, hint: 'Look below.', cause });
    expect(error).toBeInstanceOf(Error);
  });
});

describe('isErrorCode', () => {
  it('isErrorCode knows the catalogue and nothing that every object has', () => {
    expect(isErrorCode('WAL_MISSING')).toBe(true);
    for (const text of ['wal_missing', 'toString', '__proto__', 'constructor', '', undefined, 7]) expect(isErrorCode(text)).toBe(false);
  });
});

describe('messageOf', () => {
  it('messageOf makes a text of anything that is thrown', () => {
    expect(messageOf(new Error('why'))).toBe('why');
    expect(messageOf('why')).toBe('why');
    expect(messageOf(undefined)).toBe('undefined');
  });
});
