/**
 * Keys that an interrupted base backup may have left and that a listing may not show yet: parts are numbered from 1, so that what lies around those that are
 * listed can be named. To remove what is not there costs nothing.
 */
import { codecs } from './compression.ts';
import {
  backupLabelTarName,
  extensionOfTar,
  filesMetadataKey,
  metadataKey,
  partFileName,
  pgControlTarName,
  tarPartitionsPrefix,
  withExtension,
} from './layout.ts';

/** More parts than are under way at a time, or were stored in the moments by which a listing lags. */
const unlistedPartsMaximumCount = 16;
/** 12 TiB of parts of the usual size. Of a number beyond, which nobody of ours wrote, no other is guessed. */
const partNumberMaximum = 100_000;

/** @param listed keys that the listing shows */
export function possibleOrphans(backup: string, listed: readonly string[]): readonly string[] {
  const prefix = tarPartitionsPrefix(backup);
  const tars = listed.filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length));
  const seen = new Set(tars.map(extensionOfTar));
  const extensions = seen.size > 0 ? [...seen] : Object.values(codecs).map(({ extension }) => extension);
  const numbers = tars.map((name) => Number(/^part_(\d+)\./.exec(name)?.[1] ?? 0)).filter((number) => number <= partNumberMaximum);
  const last = numbers.reduce((most, number) => Math.max(most, number), 0);
  const keys = [metadataKey(backup), filesMetadataKey(backup)];
  for (const extension of extensions) {
    for (const name of [pgControlTarName, backupLabelTarName]) keys.push(`${prefix}${withExtension(name, extension)}`);
    // Those before the last listed one too: the listing may leave out any of them.
    for (let number = 1; number <= last + unlistedPartsMaximumCount; number += 1) keys.push(`${prefix}${partFileName(number, extension)}`);
  }
  return keys;
}
