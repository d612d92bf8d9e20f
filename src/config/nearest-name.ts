/** "Did you mean …?" */

/** The known name that differs least from the given one; undefined when none is alike. */
export function nearestName(name: string, known: Iterable<string>): string | undefined {
  const limitCount = Math.max(2, Math.floor(name.length / 3));
  const candidates = Array.from(known, (candidate) => ({
    candidate,
    editsCount: editsBetween(name.toLowerCase(), candidate.toLowerCase()),
  }));
  return candidates.filter(({ editsCount }) => editsCount <= limitCount).sort((left, right) => left.editsCount - right.editsCount)[0]
    ?.candidate;
}

/** Fewest insertions, removals, replacements and swaps of neighbours (optimal string alignment). */
function editsBetween(left: string, right: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: right.length + 1 }, (_, column) => column);
  for (let row = 1; row <= left.length; row++) {
    const current = [row];
    for (let column = 1; column <= right.length; column++) {
      const isSame = left[row - 1] === right[column - 1];
      const isSwap = left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1];
      current[column] = Math.min(
        (last[column] ?? Infinity) + 1,
        (current[column - 1] ?? Infinity) + 1,
        (last[column - 1] ?? Infinity) + (isSame ? 0 : 1),
        isSwap ? (beforeLast[column - 2] ?? Infinity) + 1 : Infinity,
      );
    }
    beforeLast = last;
    last = current;
  }
  return last[right.length] ?? Infinity;
}
