/**
 * Records the logs that test/domain/recovery-logs.test.ts reads: `node scripts/run.mjs node test/postgres/recovery-logs/record.ts DIRECTORY`, where every
 * major is installed. Each recovery fails on a real server; nothing in a log is written by hand.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findInstallations, type PostgresInstallation } from '../../../src/postgres/installations.ts';
import { scenarios } from './scenarios.ts';
import { RecordingSource } from './source.ts';

/** Lines of a log that are kept; the reason stands near its end. */
const linesKept = 14;
const [directory, wanted, only] = process.argv.slice(2);
if (directory === undefined) throw new TypeError('usage: record.ts DIRECTORY [MAJOR [SCENARIO]]');

const repository = fileURLToPath(new URL('../../..', import.meta.url));
const all = await findInstallations({
  searchDirectories: ['/usr/lib/postgresql/*/bin', join(repository, '.tools/postgresql/*/node_modules/*/native/bin')],
});
const byMajor = new Map(all.map((installation) => [installation.major, installation]));
for (const [major, installation] of byMajor) if (wanted === undefined || Number(wanted) === major) await recordMajor(installation);

async function recordMajor(installation: PostgresInstallation): Promise<void> {
  const { major } = installation;
  const other = byMajor.get(major + 1) ?? byMajor.get(major - 1);
  if (other === undefined) throw new Error('another major is needed');
  await mkdir(join(directory ?? '', String(major)), { recursive: true });
  await using source = await RecordingSource.open(installation, other);
  for (const [name, scenario] of Object.entries(scenarios)) {
    const { spoil = async () => undefined, meanwhile, before, otherMajor, majors, hasOwnSource } = scenario;
    if ((only !== undefined && name !== only) || majors?.includes(major) === false) continue;
    await using own = hasOwnSource === true ? await RecordingSource.open(installation, other) : undefined;
    const place = own ?? source;
    const after = await before?.(place);
    const binDirectory = otherMajor === true ? other.binDirectory : undefined;
    const { launch, log } = await place.recordFailure(spoil, { meanwhile, binDirectory });
    await after?.();
    // What a server prints before its own logging begins counts only when it never comes so far.
    if (log === '' || launch.includes('FATAL')) await keep(join(String(major), `${name}.launch.log`), launch);
    await keep(join(String(major), `${name}.${major >= 15 ? 'jsonlog' : 'csvlog'}`), log);
    process.stderr.write(`${major} ${name}\n`);
  }
}

async function keep(name: string, text: string): Promise<void> {
  const lines = text.split('\n').slice(-linesKept - 1);
  if (lines.some((line) => line !== '')) await writeFile(join(directory ?? '', name), lines.join('\n'));
}
