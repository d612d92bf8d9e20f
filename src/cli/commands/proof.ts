/** Commands that prove and show what an archive holds: `verify`, `window`. */
import type { Command } from 'commander';
import { type Finding, type VerificationReport } from '../../domain/archive-findings.ts';
import type { ArchiveWindow, BackupWindow, WindowLimits } from '../../domain/archive-window.ts';
import { WalkbackError } from '../../domain/errors.ts';
import { formatInstant, type Instant } from '../../domain/instant.ts';
import { type CommonOptions, configurationOf, optionsOf, outputOf, withClient } from '../context.ts';
import { follow, noteMissingWorker } from '../follow.ts';
import { errorDocument, formatBytes, formatDuration, type Output, renderTable } from '../output.ts';
import { renderTimeLine } from '../time-line.ts';

/** What `window` lists. */
const windowLimits: WindowLimits = { backups: 1000, holes: 1000, backupsOfHole: 10 };

/** Adds the commands. */
export function addProofCommands(program: Command): void {
  program
    .command('verify')
    .argument('<cluster>', 'name of the cluster in walkback.yaml')
    .description('prove that the archive holds everything that its base backups need')
    .option('--deep', 'read and hash every object that a restore may need', false)
    .option('--no-wait', 'only start it, and print its id')
    .addHelpText(
      'after',
      '\nExample:\n  walkback verify shop --deep\n\nExit code 0: no error was found. 5: the archive lacks something, or holds it damaged; the report says what.',
    )
    .action(async (cluster: string, _options: object, command: Command) =>
      verify(cluster, optionsOf<{ deep: boolean; wait: boolean }>(command)),
    );
  program
    .command('window')
    .argument('<cluster>', 'name of the cluster in walkback.yaml')
    .description('show from when to when the cluster can be restored; reads the archive itself, so Temporal may be down')
    .addHelpText('after', '\nExample:\n  walkback window shop')
    .action(async (cluster: string, _options: object, command: Command) => showWindow(cluster, optionsOf(command)));
}

async function verify(cluster: string, options: CommonOptions & { readonly deep: boolean; readonly wait: boolean }): Promise<void> {
  const output = outputOf(options);
  await withClient(await configurationOf(options), async (client) => {
    const handle = await client.startVerify({ cluster, deep: options.deep });
    output.note(`Verification ${handle.workflowId} is started.`);
    await noteMissingWorker(client, output);
    if (!options.wait) return output.answer({ ok: true, workflowId: handle.workflowId }, handle.workflowId);
    const { report, steps, totalMilliseconds } = await follow(handle, output);
    const document = { workflowId: handle.workflowId, report, steps, totalMilliseconds };
    if (report.isSound) return output.answer({ ok: true, ...document }, renderReport(report, totalMilliseconds));
    tellUnsound({ report, document, totalMilliseconds, output });
  });
}

/** The report is the answer, and the exit code says what kind it is. */
function tellUnsound(parts: {
  readonly report: VerificationReport;
  readonly document: object;
  readonly totalMilliseconds: number;
  readonly output: Output;
}): void {
  const { report, document, totalMilliseconds, output } = parts;
  const { cluster, errors, reportKey } = report;
  const error = new WalkbackError('ARCHIVE_DAMAGED', `The archive of ${cluster} has ${countOf(errors, 'error')}.`, {
    facts: { cluster, errors, reportKey },
  });
  output.answer({ ...errorDocument(error), ...document }, renderReport(report, totalMilliseconds));
  output.note(`Try: ${error.hint}`);
  process.exitCode = error.exitCode;
}

function renderReport(report: VerificationReport, totalMilliseconds: number): string {
  const { cluster, isSound, backups, timelines, deep, objectsRead, bytesRead, errors, notes, findings, findingsLeftOut, reportKey } =
    report;
  const rows = timelines.map((timeline) => [
    String(timeline.timeline),
    String(timeline.segmentsHeld),
    String(timeline.segmentsNeeded),
    String(timeline.segmentsMissing),
  ]);
  const read = deep ? `, ${countOf(objectsRead, 'object')} (${formatBytes(bytesRead)}) read and hashed` : '';
  return [
    `${cluster}: ${isSound ? 'sound' : 'NOT SOUND'}. ${countOf(backups, 'base backup')}${read}, in ${formatDuration(totalMilliseconds)}; ${countOf(errors, 'error')}, ${countOf(notes, 'note')}.`,
    ...(rows.length === 0 ? [] : ['', renderTable(['TIMELINE', 'SEGMENTS', 'NEEDED', 'MISSING'], rows)]),
    ...(findings.length === 0 ? [] : ['', ...findings.map(renderFinding)]),
    ...(findingsLeftOut === 0 ? [] : [`and ${findingsLeftOut} more`]),
    '',
    `The whole report is in the archive: ${reportKey}`,
  ].join('\n');
}

function renderFinding({ severity, text }: Finding): string {
  return `${severity === 'error' ? 'ERROR' : 'note '}  ${text}`;
}

async function showWindow(cluster: string, options: CommonOptions): Promise<void> {
  const output = outputOf(options);
  const loaded = await configurationOf(options);
  const { configuration, secrets } = loaded;
  const [{ archiveUrlOf }, { OpenStores }, { readArchiveWindow }, { createWalArchive }, { defaultWalSegmentBytes }, { openCipher }] =
    await Promise.all([
      import('../../config/configuration.ts'),
      import('../../processes/stores.ts'),
      import('../../archive/read-window.ts'),
      import('../../archive/wal-archive.ts'),
      import('../../domain/wal-segment.ts'),
      import('../../processes/cipher.ts'),
    ]);
  const cipher = await openCipher(loaded);
  await using stores = new OpenStores(configuration, secrets);
  const store = stores.open(archiveUrlOf(configuration, cluster));
  const openWal = (segmentBytes = defaultWalSegmentBytes) =>
    createWalArchive(store, { compression: configuration.storage.compression, cipher, segmentBytes });
  const window = await readArchiveWindow(store, { cluster, openWal, cipher, limits: windowLimits });
  output.answer({ ok: true, ...window }, renderWindow(window));
}

function renderWindow(window: ArchiveWindow): string {
  const { cluster, backups, holes } = window;
  if (backups.length === 0) return `${cluster} has no base backup yet: take one with \`walkback backup ${cluster}\`.`;
  const line = renderTimeLine(window, { columns: process.stdout.columns ?? 80, ascii: !isUnicodeTerminal(process.env) });
  const rows = backups.map(backupRow);
  return [
    ...(line === undefined ? [] : [line, '']),
    ...summaryLines(window),
    '',
    renderTable(['BACKUP', 'FROM (JUST AFTER)', 'TO', 'LSN', 'TIMELINE', 'KIND'], rows),
    ...(holes.length === 0
      ? []
      : ['', 'Missing WAL:', renderTable(['TIMELINE', 'FIRST', 'LAST', 'SEGMENTS', 'BETWEEN'], holes.map(holeRow))]),
  ].join('\n');
}

function summaryLines({ earliest, latest, lastCommit }: ArchiveWindow): string[] {
  const until =
    latest?.instant === null ? `the end of ${latest.segment}, whose time is not recorded` : instantText(latest?.instant ?? undefined);
  return [
    `earliest      ${earliest === null ? 'nothing can be restored' : `just after ${instantText(earliest.instant)}`}`,
    ...(latest === null
      ? []
      : [
          `latest        ${until} (${latest.lsn}, timeline ${latest.timeline}${latest.isPartial === true ? `, in the unfinished ${latest.segment}` : ''})`,
        ]),
    `last commit   ${lastCommit === null ? 'none in the last segments' : `${instantText(lastCommit.time)} (in ${lastCommit.segment})`}`,
  ];
}

function backupRow(backup: BackupWindow): readonly string[] {
  const kind = [
    backup.deltaFrom === undefined ? 'full' : `delta of ${backup.deltaFrom}`,
    ...(backup.isPermanent ? ['permanent'] : []),
  ].join(', ');
  if (!backup.isUsable) return [backup.backup, instantText(backup.from), 'not usable: WAL is missing', '', String(backup.timeline), kind];
  const to = backup.toClosedAt === undefined ? `end of ${backup.toSegment ?? ''}` : instantText(backup.toClosedAt);
  return [backup.backup, instantText(backup.from), to, backup.toLsn ?? '', String(backup.timeline), kind];
}

function holeRow({ timeline, first, last, count, after, before }: ArchiveWindow['holes'][number]): readonly string[] {
  return [String(timeline), first, last, String(count), `${instantText(after)} and ${instantText(before)}`];
}

function instantText(instant: Instant | undefined): string {
  return instant === undefined ? 'unknown' : formatInstant(instant);
}

/** By the locale, as other programs decide it: an empty variable counts as none. */
function isUnicodeTerminal(environment: NodeJS.ProcessEnv): boolean {
  const locale = environment['LC_ALL'] || environment['LC_CTYPE'] || environment['LANG'] || '';
  return /utf-?8/i.test(locale);
}

function countOf(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
