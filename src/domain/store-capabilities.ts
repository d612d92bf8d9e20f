/** What an object store really enforces, as the probe found it. */

/** What a store makes of a checksum that comes with an object: refuses wrong ones, does not look, or refuses the request. */
export type ChecksumSupport = 'enforced' | 'ignored' | 'refused';

/** What the store itself enforces, whatever we do to get along without it. */
export interface EnforcedByStore {
  /** A put that must not replace anything is refused by the store when the key is taken. Without it, every such put looks first, and can be overtaken. */
  readonly conditionalPut: boolean;
  readonly checksums: ChecksumSupport;
  /** Listings of one level leave out what lies deeper. Without it they are longer, and the rest is left out by us. */
  readonly delimiterListing: boolean;
}

/** What can be relied on. */
export interface StoreCapabilities extends EnforcedByStore {
  /** A range is honoured, so that broken downloads can go on where they stopped. */
  readonly rangedRead: boolean;
  /** User metadata comes back. */
  readonly metadata: boolean;
}

/** One row of a table: what was looked for, what was found, and what that means. */
export interface CapabilityRow {
  readonly name: string;
  readonly found: string;
  readonly meaning: string;
}

/** For people, in the order of importance. */
export function describeCapabilities(found: StoreCapabilities): readonly CapabilityRow[] {
  const { conditionalPut, checksums, rangedRead, metadata, delimiterListing } = found;
  return [
    {
      name: 'conditional put',
      found: conditionalPut ? 'enforced' : 'not enforced',
      meaning: conditionalPut
        ? 'the store itself refuses a second WAL file of the same name'
        : 'walkback looks before it writes; two hosts that write the same name at the same instant are not kept apart',
    },
    { name: 'checksums', found: checksums, meaning: checksumMeanings[checksums] },
    {
      name: 'ranged read',
      found: rangedRead ? 'yes' : 'no',
      meaning: rangedRead ? 'a broken download goes on where it stopped' : 'a broken download reads again what it had',
    },
    {
      name: 'metadata',
      found: metadata ? 'yes' : 'lost',
      meaning: metadata
        ? 'SHA-256 and closing time of each WAL file are kept with it'
        : 'the SHA-256 of a WAL file is not kept: segments are verified by their own checksums alone, and targets near a hole cannot be judged',
    },
    {
      name: 'delimiter',
      found: delimiterListing ? 'yes' : 'no',
      meaning: delimiterListing ? 'listings hold what was asked for' : 'listings are longer than they need be',
    },
  ];
}

const checksumMeanings: Readonly<Record<ChecksumSupport, string>> = {
  enforced: 'bytes that were damaged on their way are refused by the store',
  ignored: 'damage on the way is found when the object is read, by its SHA-256',
  refused: 'nothing is sent; damage on the way is found when the object is read, by its SHA-256',
};
