import { appendFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseLog, readLogRecords } from '../../src/postgres/server-log.ts';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'wb-log-'));
});
afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

const jsonLine =
  '{"timestamp":"2026-11-23 08:50:19.123 UTC","pid":42,"error_severity":"FATAL","state_code":"XX000","message":"it \\"broke\\"","detail":"why","backend_type":"startup"}\n';

function csvLine(message: string): string {
  const quoted = `"${message.replaceAll('"', '""')}"`;
  return `2026-11-23 08:50:19.123 UTC,,,42,,692a.2a,3,,2026-11-23 08:50:19 UTC,1/0,0,LOG,00000,${quoted},,,,,,,,,"","startup",,0\n`;
}

describe('parseLog', () => {
  it('parseLog reads a record when it is in jsonlog', () => {
    expect(parseLog(jsonLine, 'jsonlog')).toEqual([
      {
        time: '2026-11-23T08:50:19.123000Z',
        pid: 42,
        severity: 'FATAL',
        sqlState: 'XX000',
        message: 'it "broke"',
        detail: 'why',
        hint: undefined,
        backendType: 'startup',
      },
    ]);
  });

  it('parseLog passes over a line when a killed server left half of it', () => {
    expect(parseLog(`{"timestamp":"2026-1\n${jsonLine}`, 'jsonlog')).toHaveLength(1);
  });

  it('parseLog reads messages when csvlog holds commas, quotes and line feeds', () => {
    const messages = ['plain', 'with, comma', 'restored log file "0001" from archive', 'two\nlines', ''];
    expect(parseLog(messages.map(csvLine).join(''), 'csvlog').map((found) => found.message)).toEqual(
      messages.filter((text) => text !== ''),
    );
    expect(parseLog(csvLine('x'), 'csvlog')[0]).toMatchObject({
      pid: 42,
      backendType: 'startup',
      severity: 'LOG',
      time: '2026-11-23T08:50:19.123000Z',
    });
  });

  it('parseLog joins DETAIL, HINT and following lines when the log is plain', () => {
    const text = [
      '2026-11-23 08:50:19.123 UTC [7] FATAL:  no\n',
      '\tnot at all\n',
      '2026-11-23 08:50:19.123 UTC [7] DETAIL:  because\n',
      '2026-11-23 08:50:19.123 UTC [7] HINT:  try\n',
      '/bin/postgres: error while loading shared libraries\n',
    ].join('');
    expect(parseLog(text, 'stderr')).toMatchObject([
      { severity: 'FATAL', pid: 7, message: 'no\nnot at all', detail: 'because', hint: 'try' },
      { severity: 'LOG', pid: undefined, message: '/bin/postgres: error while loading shared libraries' },
    ]);
  });

  it('parseLog leaves the time open when the zone is not UTC', () => {
    expect(parseLog('2026-11-23 08:50:19.123 CET [7] LOG:  x\n', 'stderr')[0]?.time).toBeUndefined();
  });
});

describe('readLogRecords', () => {
  it('readLogRecords leaves a torn record for the next call when it is not whole yet', async () => {
    for (const [name, line] of [
      ['torn.json', jsonLine],
      ['torn.csv', csvLine('two\nlines')],
    ] as const) {
      const file = join(directory, name);
      await writeFile(file, line + line.slice(0, -5));
      const first = await readLogRecords(file);
      expect(first.records).toHaveLength(1);
      expect(first.nextBytes).toBe(line.length);
      await appendFile(file, line.slice(-5));
      const second = await readLogRecords(file, { fromBytes: first.nextBytes });
      expect(second).toMatchObject({ nextBytes: 2 * line.length });
      expect(second.records).toHaveLength(1);
    }
  });

  it('readLogRecords reads piece by piece when the log is longer than the bound', async () => {
    const file = join(directory, 'long.json');
    await writeFile(file, jsonLine.repeat(50));
    let count = 0;
    for (let fromBytes = 0, more = true; more;) {
      const piece = await readLogRecords(file, { fromBytes, maximumBytes: jsonLine.length * 3 + 10 });
      count += piece.records.length;
      more = piece.nextBytes > fromBytes;
      fromBytes = piece.nextBytes;
    }
    expect(count).toBe(50);
  });

  it('readLogRecords goes on when one record is longer than the bound', async () => {
    const file = join(directory, 'giant.json');
    await writeFile(file, `${'x'.repeat(1000)}\n${jsonLine}`);
    const piece = await readLogRecords(file, { maximumBytes: 600 });
    expect(piece).toEqual({ records: [], nextBytes: 600 });
    expect((await readLogRecords(file, { fromBytes: 600, maximumBytes: 600 })).records).toHaveLength(1);
  });

  it('readLogRecords has nothing when the file is not there yet', async () => {
    expect(await readLogRecords(join(directory, 'none.json'))).toEqual({ records: [], nextBytes: 0 });
  });
});
