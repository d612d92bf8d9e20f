/** The plot: bars of everybody's time relative to ours, as SVG without anything from outside. */
import type { FigureResult, Result } from '../results.ts';

const [widthPixels, labelPixels, valuePixels, rowPixels, gapPixels, barPixels] = [860, 210, 130, 20, 26, 14];
/** Longer bars are cut, and say so. */
const shownMaximumRatio = 6;
const colours: Readonly<Record<Result['name'], string>> = {
  walkback: '#2b6cb0',
  'wal-g': '#a0aec0',
  pgbackrest: '#cbd5e0',
  'local-files': '#e2c391',
};

/** Draws one group of bars a figure. */
export function renderPlot(results: readonly FigureResult[]): string {
  const groups: string[] = [];
  let y = gapPixels;
  for (const { figure, results: all } of results) {
    const ours = all.find(({ name }) => name === 'walkback')?.seconds;
    if (ours === undefined) continue;
    groups.push(text({ x: 8, y, weight: 'bold' }, figure.title));
    for (const result of all) {
      y += rowPixels;
      groups.push(bar(result, { y, ratio: result.seconds / ours, unit: figure.unit }));
    }
    y += rowPixels + gapPixels;
  }
  const style = 'font-family="system-ui, sans-serif" font-size="12"';
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${widthPixels}" height="${y}" viewBox="0 0 ${widthPixels} ${y}" ${style}>`,
    `<rect width="${widthPixels}" height="${y}" fill="#ffffff"/>`,
    ...groups,
    '</svg>',
    '',
  ].join('\n');
}

function bar(result: Result, { y, ratio, unit }: { readonly y: number; readonly ratio: number; readonly unit: 's' | 'ms' }): string {
  const room = widthPixels - labelPixels - valuePixels;
  const width = Math.max(1, (Math.min(ratio, shownMaximumRatio) / shownMaximumRatio) * room);
  const time = unit === 'ms' ? `${(result.seconds * 1000).toFixed(1)} ms` : `${result.seconds.toFixed(2)} s`;
  const shown = `${time} · ${ratio.toFixed(2)} ×${ratio > shownMaximumRatio ? ' (cut)' : ''}`;
  return [
    text({ x: 20, y, weight: 'normal' }, result.label),
    `<rect x="${labelPixels}" y="${y - barPixels + 3}" width="${width.toFixed(1)}" height="${barPixels}" fill="${colours[result.name]}"/>`,
    text({ x: labelPixels + width + 6, y, weight: 'normal' }, shown),
  ].join('\n');
}

function text(at: { readonly x: number; readonly y: number; readonly weight: string }, content: string): string {
  return `<text x="${at.x.toFixed(1)}" y="${at.y}" font-weight="${at.weight}" fill="#1a202c">${content}</text>`;
}
