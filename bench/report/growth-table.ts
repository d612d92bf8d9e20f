/** The table of `npm run bench -- --growth`. */
import type { GrowthRow } from '../growth/growth.ts';

const mebibyte = 1024 * 1024;
/** What the memory of any work has to stay under. */
export const memoryMaximumBytes = 400 * mebibyte;

/** A page of its own. */
export function renderGrowth(rows: readonly GrowthRow[]): string {
  return [
    '# Growth',
    '',
    'Measured by `npm run bench -- --growth` against walkback’s own S3 server, which counts requests; each row is a process of its own.',
    'Requests that write and their number for 8 MiB of data stand by themselves. A row that was ended by its time limit says how far it came.',
    '',
    '| work | time | MiB/s | peak memory | under 400 MiB | requests | writes per 8 MiB |',
    '| --- | ---: | ---: | ---: | --- | --- | ---: |',
    ...rows.map(rowOf),
    '',
  ].join('\n');
}

function rowOf({ work, dataBytes, outcome, requests }: GrowthRow): string {
  const { isComplete, seconds, peakBytes, bytesDone } = outcome;
  const doneBytes = isComplete ? dataBytes : bytesDone;
  const writes = writesIn(requests);
  const shown = Object.entries(requests).map(([operation, count]) => `${count} ${operation}`);
  return [
    `| ${work}${isComplete ? '' : ` (ended after ${Math.round(bytesDone / mebibyte)} MiB)`}`,
    `${seconds.toFixed(1)} s`,
    (doneBytes / mebibyte / seconds).toFixed(0),
    `${Math.round(peakBytes / mebibyte)} MiB`,
    peakBytes < memoryMaximumBytes ? 'yes' : 'no',
    shown.join(', '),
    `${doneBytes === 0 ? '' : (writes / (doneBytes / (8 * mebibyte))).toFixed(2)} |`,
  ].join(' | ');
}

/** Requests that store bytes or close an object; the others are a fixed number a backup. */
function writesIn(requests: Readonly<Record<string, number>>): number {
  const counted = ['PutObject', 'UploadPart', 'CreateMultipartUpload', 'CompleteMultipartUpload'];
  return counted.reduce((total, operation) => total + (requests[operation] ?? 0), 0);
}
