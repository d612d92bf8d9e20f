/** The table of `npm run bench -- --recovery-settings`. */
import type { SettingsResult } from '../recovery/recovery-settings.ts';

/** In Markdown; ratios are of the first, over 1 is faster than it. */
export function renderSettings(results: readonly SettingsResult[]): string {
  const [first] = results;
  const cells = (one: number | undefined, other: number) => `${other.toFixed(2)} s | ${one === undefined ? '' : (one / other).toFixed(2)}`;
  return [
    '| settings | redo | ratio | CPU of redo | ratio | from start to writable | ratio |',
    '| --- | ---: | ---: | ---: | ---: | ---: | ---: |',
    ...results.map(({ name, redoSeconds, redoCpuSeconds, writableSeconds }) => {
      const redo = `${cells(first?.redoSeconds, redoSeconds)} | ${cells(first?.redoCpuSeconds, redoCpuSeconds)}`;
      return `| ${name} | ${redo} | ${cells(first?.writableSeconds, writableSeconds)} |`;
    }),
    '',
  ].join('\n');
}
