/** Where the frames of Zstandard begin and end, by their headers alone (RFC 8878, section 3). What is in them is not looked at. */

const magic = 0xfd_2f_b5_28;
/** Of frames that hold nothing for a reader: the lowest of sixteen. */
const skippableMagic = 0x18_4d_2a_50;
const skippableMask = 0xff_ff_ff_f0;
const magicBytes = 4;
const blockHeaderBytes = 3;
const checksumBytes = 4;
/** The size of a frame's content takes so many bytes, by the top two bits of its descriptor. */
const contentSizeBytes = [0, 2, 4, 8] as const;
/** And the dictionary's number so many, by the lowest two. */
const dictionaryBytes = [0, 1, 2, 4] as const;
const blockTypes = { raw: 0, repeated: 1, compressed: 2 } as const;

/** What comes next, and when it is there, what follows. */
type Place =
  | { readonly kind: 'header'; readonly sizeBytes: number; readonly next: (header: Buffer) => Place }
  | { readonly kind: 'body'; readonly sizeBytes: number; readonly next: () => Place }
  | { readonly kind: 'end' }
  /** No frame: nobody knows where it ends. */
  | { readonly kind: 'unknown' };

/** How much of the bytes belongs to the frame. */
export interface FramePiece {
  readonly sizeBytes: number;
  /** Its last byte is the frame's. */
  readonly isEnd: boolean;
}

/** Goes through frames, one after the other, whatever the pieces are that they come in. */
export class FrameWalk {
  #place: Place = frameStart;
  #leftBytes: number = frameStart.sizeBytes;
  readonly #collected = Buffer.alloc(8);

  /** Takes bytes up to the end of the frame, or all that there are. Bytes that are no frame belong to one that does not end. */
  take(bytes: Buffer): FramePiece {
    let offset = 0;
    while (offset < bytes.length && this.#place.kind !== 'unknown') {
      const takenBytes = Math.min(this.#leftBytes, bytes.length - offset);
      if (this.#place.kind === 'header') bytes.copy(this.#collected, this.#place.sizeBytes - this.#leftBytes, offset, offset + takenBytes);
      offset += takenBytes;
      this.#leftBytes -= takenBytes;
      if (this.#leftBytes > 0) break;
      if (this.#advance()) return { sizeBytes: offset, isEnd: true };
    }
    return { sizeBytes: bytes.length, isEnd: false };
  }

  /** @returns whether a frame has ended */
  #advance(): boolean {
    while (this.#leftBytes === 0 && this.#place.kind !== 'unknown') {
      this.#go(nextOf(this.#place, this.#collected));
      if (this.#place.kind !== 'end') continue;
      this.#go(frameStart);
      return true;
    }
    return false;
  }

  #go(place: Place): void {
    this.#place = place;
    this.#leftBytes = 'sizeBytes' in place ? place.sizeBytes : 0;
  }
}

const frameStart = { kind: 'header', sizeBytes: magicBytes, next: afterMagic } as const satisfies Place;

function nextOf(place: Place, header: Buffer): Place {
  if (place.kind === 'header') return place.next(header);
  return place.kind === 'body' ? place.next() : place;
}

function afterMagic(header: Buffer): Place {
  const found = header.readUInt32LE(0);
  if (found === magic) return { kind: 'header', sizeBytes: 1, next: afterDescriptor };
  if ((found & skippableMask) >>> 0 !== skippableMagic) return { kind: 'unknown' };
  return { kind: 'header', sizeBytes: 4, next: (size) => ({ kind: 'body', sizeBytes: size.readUInt32LE(0), next: end }) };
}

function afterDescriptor(header: Buffer): Place {
  const descriptor = header.readUInt8(0);
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const hasChecksum = (descriptor & 0x04) !== 0;
  const sizeOfContentSize = contentSizeBytes[descriptor >> 6] ?? 0;
  const restBytes =
    (isSingleSegment ? 0 : 1) +
    (dictionaryBytes[descriptor & 0x03] ?? 0) +
    (isSingleSegment ? Math.max(1, sizeOfContentSize) : sizeOfContentSize);
  return { kind: 'body', sizeBytes: restBytes, next: () => block(hasChecksum) };
}

function block(hasChecksum: boolean): Place {
  return {
    kind: 'header',
    sizeBytes: blockHeaderBytes,
    next: (header) => {
      const value = header.readUIntLE(0, blockHeaderBytes);
      const isLast = (value & 1) !== 0;
      const type = (value >> 1) & 3;
      if (!Object.values<number>(blockTypes).includes(type)) return { kind: 'unknown' };
      const next = (): Place => {
        if (!isLast) return block(hasChecksum);
        return hasChecksum ? { kind: 'body', sizeBytes: checksumBytes, next: end } : end();
      };
      return { kind: 'body', sizeBytes: type === blockTypes.repeated ? 1 : value >> 3, next };
    },
  };
}

function end(): Place {
  return { kind: 'end' };
}
