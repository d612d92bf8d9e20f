/** What a store lists, put right by what is known of it: a listing of a store that is consistent only eventually may be that of a while ago. */
import type { ObjectInfo, ObjectStore } from '../storage/object-store.ts';
import { mapParallel } from './parallel.ts';

/** What there has to be. */
export interface ExpectedObjects {
  /** Keys, with their sizes where these are known. */
  readonly sizes: ReadonlyMap<string, number | undefined>;
  /** May an object of this key be there beside them? */
  readonly mayHave: (key: string) => boolean;
}

/** Of a listing that lags, a few writes of the last moments are wrong; of one that is further from what is expected, nothing is asked. */
const doubtsMaximumCount = 256;
const concurrency = 16;

/**
 * Asks for each object by its name, which stores answer by what there is, when the listing leaves it out though it has to be there, or shows it though it
 * has not, or in another size.
 */
export async function asStored(
  store: ObjectStore,
  listed: readonly ObjectInfo[],
  { expected, signal }: { readonly expected: ExpectedObjects; readonly signal: AbortSignal | undefined },
): Promise<readonly ObjectInfo[]> {
  const { sizes, mayHave } = expected;
  const shown = new Set(listed.map(({ key }) => key));
  const isDoubtful = ({ key, sizeBytes }: ObjectInfo): boolean => {
    const expectedBytes = sizes.get(key);
    return sizes.has(key) ? expectedBytes !== undefined && expectedBytes !== sizeBytes : !mayHave(key);
  };
  const doubtful = listed.filter(isDoubtful).map(({ key }) => key);
  const doubts = [...doubtful, ...[...sizes.keys()].filter((key) => !shown.has(key))];
  if (doubts.length === 0 || doubts.length > doubtsMaximumCount) return listed;
  const answers = await mapParallel(doubts, { concurrency, signal }, async (key, each) => store.head(key, { signal: each }));
  const asked = new Set(doubts);
  return [...listed.filter(({ key }) => !asked.has(key)), ...answers.filter((info) => info !== undefined)];
}
