/** The middle of the numbers, or the mean of the two in the middle. @throws RangeError for none */
export function median(numbers: readonly number[]): number {
  if (numbers.length === 0) throw new RangeError('there is no median of no numbers');
  const sorted = numbers.toSorted((one, other) => one - other);
  const [lower = 0, upper = 0] = [sorted[Math.floor((sorted.length - 1) / 2)], sorted[Math.ceil((sorted.length - 1) / 2)]];
  return (lower + upper) / 2;
}
