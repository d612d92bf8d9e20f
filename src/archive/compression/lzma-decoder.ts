/**
 * The decoder of LZMA (Igor Pavlov, "LZMA specification", lzma-specification.txt in the public-domain LZMA SDK): a range decoder of bits whose
 * probabilities adapt, and over it literals, matches and four remembered distances.
 */

export interface LzmaParameters {
  readonly literalContextBits: number;
  readonly literalPositionBits: number;
  readonly positionBits: number;
  readonly dictionaryBytes: number;
  /** Undefined: an end marker ends the data. */
  readonly contentBytes: number | undefined;
}

const probabilityBits = 11;
const initialProbability = 1 << (probabilityBits - 1);
const moveBits = 5;
const renormalizeBelow = 2 ** 24;
const stateCount = 12;
/** States below this one follow a literal. */
const literalStates = 7;
const positionStateMaximum = 16;
const matchMinimumBytes = 2;
const alignBits = 4;
const endPositionModel = 14;
const fullDistances = 1 << (endPositionModel >> 1);
const endMarkerDistance = 0xffffffff;
/** The longest match. */
const matchMaximumBytes = 273;
/** Decoded bytes are handed out in pieces of at least this size. */
const outputPieceBytes = 256 * 1024;
/** Room behind the dictionary: the more of it, the less often the dictionary is moved to the front again. */
const minimumRoomBytes = 4 * outputPieceBytes;

function probabilities(count: number): Uint16Array {
  return new Uint16Array(count).fill(initialProbability);
}

/** The lengths of matches: three ranges, the first two by the position's low bits. */
class LengthModel {
  readonly choice = probabilities(2);
  readonly low = probabilities(positionStateMaximum << 3);
  readonly middle = probabilities(positionStateMaximum << 3);
  readonly high = probabilities(1 << 8);
}

/** Decodes input that comes in pieces. */
export class LzmaDecoder {
  /** Of the input given last. */
  consumedBytes = 0;
  hasEnded = false;
  readonly #parameters: LzmaParameters;
  readonly #window: Buffer;
  #windowPosition = 0;
  #decodedBytes = 0;
  #handedOutPosition = 0;
  #input: Buffer = Buffer.alloc(0);
  #range = 0xffffffff;
  #code = 0;
  #isOpen = false;
  #state = 0;
  readonly #distances = [0, 0, 0, 0] as [number, number, number, number];
  readonly #literal: Uint16Array;
  readonly #isMatch = probabilities(stateCount << 4);
  readonly #isRepeat = probabilities(stateCount);
  readonly #isRepeatLater = [probabilities(stateCount), probabilities(stateCount), probabilities(stateCount)] as const;
  readonly #isRepeatLong = probabilities(stateCount << 4);
  readonly #slot = probabilities(4 << 6);
  readonly #position = probabilities(1 + fullDistances - endPositionModel);
  readonly #align = probabilities(1 << alignBits);
  readonly #length = new LengthModel();
  readonly #repeatLength = new LengthModel();

  constructor(parameters: LzmaParameters) {
    this.#parameters = parameters;
    this.#window = Buffer.alloc(parameters.dictionaryBytes + Math.max(parameters.dictionaryBytes >> 1, minimumRoomBytes));
    this.#literal = probabilities(0x300 << (parameters.literalContextBits + parameters.literalPositionBits));
  }

  /** Decodes until only `keepBytes` of the input are left, or the data has ended. @throws SyntaxError when the data is damaged */
  *decode(input: Buffer, { keepBytes }: { readonly keepBytes: number }): Generator<Buffer> {
    this.#input = input;
    this.consumedBytes = 0;
    if (!this.#isOpen) this.#open();
    while (!this.hasEnded && this.#mayRead(input, keepBytes)) {
      this.#symbol();
      if (this.#windowPosition - this.#handedOutPosition >= outputPieceBytes) yield this.#handOut();
      if (this.#windowPosition + matchMaximumBytes > this.#window.length) {
        if (this.#windowPosition > this.#handedOutPosition) yield this.#handOut();
        this.#makeRoom();
      }
    }
    if (this.#windowPosition > this.#handedOutPosition) yield this.#handOut();
  }

  #mayRead(input: Buffer, keepBytes: number): boolean {
    return keepBytes === 0 || input.length - this.consumedBytes > keepBytes;
  }

  #open(): void {
    if (this.#byte() !== 0) throw new SyntaxError('its LZMA data does not begin with a zero');
    for (let index = 0; index < 4; index += 1) this.#code = ((this.#code << 8) | this.#byte()) >>> 0;
    this.#isOpen = true;
    this.hasEnded = this.#parameters.contentBytes === 0;
  }

  /** A copy, because the window moves on. */
  #handOut(): Buffer {
    const piece = Buffer.from(this.#window.subarray(this.#handedOutPosition, this.#windowPosition));
    this.#handedOutPosition = this.#windowPosition;
    return piece;
  }

  #makeRoom(): void {
    const { dictionaryBytes } = this.#parameters;
    this.#window.copyWithin(0, this.#windowPosition - dictionaryBytes, this.#windowPosition);
    this.#windowPosition = dictionaryBytes;
    this.#handedOutPosition = dictionaryBytes;
  }

  #symbol(): void {
    const positionState = this.#decodedBytes & ((1 << this.#parameters.positionBits) - 1);
    const atState = (this.#state << 4) + positionState;
    if (this.#bit(this.#isMatch, atState) === 0) this.#literalByte();
    else if (this.#bit(this.#isRepeat, this.#state) === 0) this.#match(positionState);
    else this.#repeat(positionState, atState);
    if (this.#decodedBytes === this.#parameters.contentBytes) this.hasEnded = true;
  }

  #literalByte(): void {
    const { literalContextBits, literalPositionBits } = this.#parameters;
    const previous = this.#decodedBytes === 0 ? 0 : (this.#window[this.#windowPosition - 1] ?? 0);
    const context =
      ((this.#decodedBytes & ((1 << literalPositionBits) - 1)) << literalContextBits) + (previous >> (8 - literalContextBits));
    const offset = 0x300 * context;
    let symbol = this.#state >= literalStates ? this.#symbolAfterMatch(offset) : 1;
    while (symbol < 0x100) symbol = (symbol << 1) | this.#bit(this.#literal, offset + symbol);
    this.#window[this.#windowPosition] = symbol;
    this.#windowPosition += 1;
    this.#decodedBytes += 1;
    this.#state = stateAfterLiteral(this.#state);
  }

  /** After a match, the byte that would have gone on with it foretells the bits, up to the first that differs. */
  #symbolAfterMatch(offset: number): number {
    let foretold = this.#window[this.#windowPosition - this.#distances[0] - 1] ?? 0;
    let symbol = 1;
    while (symbol < 0x100) {
      const expected = (foretold >> 7) & 1;
      foretold <<= 1;
      const bit = this.#bit(this.#literal, offset + ((1 + expected) << 8) + symbol);
      symbol = (symbol << 1) | bit;
      if (bit !== expected) break;
    }
    return symbol;
  }

  #match(positionState: number): void {
    const [first, second, third] = this.#distances;
    const length = this.#lengthOf(this.#length, positionState);
    this.#state = this.#state < literalStates ? 7 : 10;
    const distance = this.#distanceFor(length);
    if (distance === endMarkerDistance) {
      if (this.#code !== 0) throw new SyntaxError('its LZMA data is damaged at its end');
      this.hasEnded = true;
      return;
    }
    this.#remember([distance, first, second, third]);
    this.#copy(length + matchMinimumBytes);
  }

  #repeat(positionState: number, atState: number): void {
    const [first, second, third, fourth] = this.#distances;
    const [isLater, isThird, isFourth] = this.#isRepeatLater;
    const isAfterLiteral = this.#state < literalStates;
    if (this.#bit(isLater, this.#state) === 0) {
      if (this.#bit(this.#isRepeatLong, atState) === 0) {
        this.#state = isAfterLiteral ? 9 : 11;
        this.#copy(1);
        return;
      }
    } else if (this.#bit(isThird, this.#state) === 0) this.#remember([second, first, third, fourth]);
    else if (this.#bit(isFourth, this.#state) === 0) this.#remember([third, first, second, fourth]);
    else this.#remember([fourth, first, second, third]);
    const length = this.#lengthOf(this.#repeatLength, positionState);
    this.#state = isAfterLiteral ? 8 : 11;
    this.#copy(length + matchMinimumBytes);
  }

  #remember(distances: readonly [number, number, number, number]): void {
    [this.#distances[0], this.#distances[1], this.#distances[2], this.#distances[3]] = distances;
  }

  #copy(lengthBytes: number): void {
    const distance = this.#distances[0] + 1;
    const window = this.#window;
    if (distance > this.#decodedBytes || distance > this.#parameters.dictionaryBytes)
      throw new SyntaxError('its LZMA data refers to bytes before its beginning');
    for (let index = this.#windowPosition; index < this.#windowPosition + lengthBytes; index += 1)
      window[index] = window[index - distance] ?? 0;
    this.#windowPosition += lengthBytes;
    this.#decodedBytes += lengthBytes;
  }

  #lengthOf(model: LengthModel, positionState: number): number {
    if (this.#bit(model.choice, 0) === 0) return this.#tree(model.low, positionState << 3, 3);
    if (this.#bit(model.choice, 1) === 0) return 8 + this.#tree(model.middle, positionState << 3, 3);
    return 16 + this.#tree(model.high, 0, 8);
  }

  #distanceFor(length: number): number {
    const slot = this.#tree(this.#slot, Math.min(length, 3) << 6, 6);
    if (slot < 4) return slot;
    const directBits = (slot >> 1) - 1;
    const base = ((2 | (slot & 1)) << directBits) >>> 0;
    if (slot < endPositionModel) return base + this.#reverseTree(this.#position, base - slot, directBits);
    const direct = (this.#directBits(directBits - alignBits) << alignBits) >>> 0;
    return base + direct + this.#reverseTree(this.#align, 0, alignBits);
  }

  #tree(model: Uint16Array, offset: number, bitCount: number): number {
    let symbol = 1;
    for (let index = 0; index < bitCount; index += 1) symbol = (symbol << 1) | this.#bit(model, offset + symbol);
    return symbol - (1 << bitCount);
  }

  /** Lowest bit first. */
  #reverseTree(model: Uint16Array, offset: number, bitCount: number): number {
    let [node, symbol] = [1, 0];
    for (let index = 0; index < bitCount; index += 1) {
      const bit = this.#bit(model, offset + node);
      node = (node << 1) | bit;
      symbol |= bit << index;
    }
    return symbol;
  }

  #directBits(bitCount: number): number {
    let value = 0;
    for (let index = 0; index < bitCount; index += 1) {
      this.#range >>>= 1;
      const bit = this.#code >= this.#range ? 1 : 0;
      if (bit === 1) this.#code -= this.#range;
      value = (value << 1) | bit;
      this.#renormalize();
    }
    return value;
  }

  #bit(model: Uint16Array, index: number): 0 | 1 {
    const probability = model[index] ?? 0;
    const bound = (this.#range >>> probabilityBits) * probability;
    const isOne = this.#code >= bound;
    if (isOne) {
      this.#range -= bound;
      this.#code -= bound;
      model[index] = probability - (probability >> moveBits);
    } else {
      this.#range = bound;
      model[index] = probability + (((1 << probabilityBits) - probability) >> moveBits);
    }
    this.#renormalize();
    return isOne ? 1 : 0;
  }

  #renormalize(): void {
    if (this.#range >= renormalizeBelow) return;
    this.#range = (this.#range << 8) >>> 0;
    this.#code = ((this.#code << 8) | this.#byte()) >>> 0;
  }

  #byte(): number {
    const byte = this.#input[this.consumedBytes];
    if (byte === undefined) throw new SyntaxError('its LZMA data ends early');
    this.consumedBytes += 1;
    return byte;
  }
}

function stateAfterLiteral(state: number): number {
  if (state < 4) return 0;
  return state < 10 ? state - 3 : state - 6;
}
