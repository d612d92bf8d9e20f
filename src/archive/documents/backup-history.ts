/**
 * What PostgreSQL writes down about a backup: backup_label, and the backup history file that goes into the archive when the backup has ended
 * (PostgreSQL: src/backend/access/transam/xlog.c, do_pg_backup_stop; from 16 on xlogbackup.c, build_backup_content).
 */
import { type Instant, instantOf, parseInstant } from '../../domain/instant.ts';
import { type Lsn, parseLsn } from '../../domain/lsn.ts';

export interface BackupHistory {
  readonly startLsn: Lsn;
  /** Segment that holds it. */
  readonly startSegment: string;
  /** Undefined in a backup_label. */
  readonly finishLsn: Lsn | undefined;
  /** The beginning of the second that is written there. */
  readonly startTime: Instant;
  /** The end of the second that is written there: the backup had ended by then. Undefined in a backup_label. */
  readonly finishTime: Instant | undefined;
}

/** @throws SyntaxError when it is no such file, or its times are in a zone that cannot be told */
export function parseBackupHistory(text: string): BackupHistory {
  const value = (name: string): string | undefined => new RegExp(`^${name}: (.*)$`, 'm').exec(text)?.[1]?.trim();
  const start = startOfLabel(text);
  const label = value('LABEL') ?? '';
  const startTime = instantIn(value('START TIME'), { startTime: value('START TIME'), label });
  if (startTime === undefined) throw new SyntaxError('it names no START TIME');
  const finishTime = instantIn(value('STOP TIME'), { startTime: value('START TIME'), label });
  return {
    startLsn: start.lsn,
    startSegment: start.segment,
    finishLsn: locationOf(value('STOP WAL LOCATION'))?.lsn,
    startTime,
    finishTime: finishTime === undefined ? undefined : (`${finishTime.slice(0, 19)}.999999Z` as Instant),
  };
}

/** Where the backup starts, as backup_label and the backup history file say it in the same line. @throws SyntaxError */
export function startOfLabel(text: string): { readonly lsn: Lsn; readonly segment: string } {
  const start = locationOf(/^START WAL LOCATION: (.*)$/m.exec(text)?.[1]);
  if (start === undefined) throw new SyntaxError('it names no START WAL LOCATION');
  return start;
}

function locationOf(text: string | undefined): { readonly lsn: Lsn; readonly segment: string } | undefined {
  const [, position, segment] = /^([0-9A-F]+\/[0-9A-F]+) \(file ([0-9A-F]{24})\)$/.exec(text ?? '') ?? [];
  return position === undefined || segment === undefined ? undefined : { lsn: parseLsn(position), segment };
}

const timePattern = /^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (\S+)$/;
/** A time with its offset, as WAL-E (`freeze_start_2026-…+00:00`) and WAL-G (`2026-… +0000 UTC`) put it into the label. */
const labelTimePattern = /(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.\d+)? ?([+-]\d\d:?\d\d|Z)/;
const quarterHourMs = 15 * 60_000;
/** Offsets of zones go from -12 to +14 hours. */
const offsetMaximumMs = 14 * 60 * 60_000;

/**
 * The instant that a time of PostgreSQL's log_timezone means. The zone is an abbreviation, which the world has used for different offsets. UTC and
 * digits are plain; of another the offset follows from the label, when the tool that took the backup wrote its own time there.
 */
function instantIn(
  text: string | undefined,
  known: { readonly startTime: string | undefined; readonly label: string },
): Instant | undefined {
  const [, time, zone] = timePattern.exec(text ?? '') ?? [];
  if (time === undefined || zone === undefined) return undefined;
  if (/^(UTC|GMT|Z)$/.test(zone)) return parseInstant(`${time}Z`);
  if (/^[+-]\d\d(:?\d\d)?$/.test(zone)) return parseInstant(`${time}${zone}`);
  const offsetMs = offsetByLabel(zone, known);
  if (offsetMs === undefined) throw new SyntaxError(`it names its times in the zone ${zone}, whose offset cannot be told`);
  return instantOf(new Date(Date.parse(`${time.replace(' ', 'T')}Z`) - offsetMs));
}

function offsetByLabel(
  zone: string,
  { startTime, label }: { readonly startTime: string | undefined; readonly label: string },
): number | undefined {
  const [, time, startZone] = timePattern.exec(startTime ?? '') ?? [];
  const [, day, clock, labelOffset] = labelTimePattern.exec(label) ?? [];
  if (time === undefined || startZone !== zone || day === undefined) return undefined;
  const labelled = Date.parse(parseInstant(`${day}T${clock}${labelOffset}`));
  const differenceMs = Date.parse(`${time.replace(' ', 'T')}Z`) - labelled;
  const offsetMs = Math.round(differenceMs / quarterHourMs) * quarterHourMs;
  return Math.abs(offsetMs) > offsetMaximumMs ? undefined : offsetMs;
}
