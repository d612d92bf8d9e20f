/**
 * What a store has been found to take. Compatible stores refuse parts of the protocol with 400 or 501, and each of them others: a request that is
 * refused is sent once more without the part that may be at fault, and what helped is remembered.
 */
import { httpStatusOf, storeCodeOf } from './s3-errors.ts';

/** The parts of a request that a store may not know. */
export interface RequestForm {
  /** A CRC-32 goes with what is written, and is asked for with what is read. */
  readonly checksums: boolean;
  /** If-None-Match on a write. Without it, a write that must not replace anything is preceded by a look. */
  readonly conditions: boolean;
  /** Listings end at a slash; without it they bring what lies deeper too, which is left out here. */
  readonly delimiters: boolean;
  /** What is written is not hashed for the signature: its CRC-32 goes with it, and nobody on the way could change both. */
  readonly unsignedPayloads: boolean;
}

/** Answers that may mean that the store does not know a header. A wrong checksum or a broken condition has codes of its own. */
const refusalCodes: ReadonlySet<string> = new Set([
  'InvalidArgument',
  'InvalidRequest',
  'NotImplemented',
  'UnsupportedHeader',
  'XAmzContentSHA256Mismatch',
]);

/** Does the answer say that the store does not know something in the request? */
export function isRefusal(error: unknown): boolean {
  const status = httpStatusOf(error);
  return status === 501 || (status === 400 && refusalCodes.has(storeCodeOf(error) ?? ''));
}

/** A bucket's policy may forbid unsigned payloads (condition key s3:x-amz-content-sha256). */
function isForbidden(error: unknown): boolean {
  return httpStatusOf(error) === 403 && storeCodeOf(error) === 'AccessDenied';
}

/** The habits of one store, as this process knows them. */
export class S3Habits {
  #form: RequestForm;

  constructor(form: RequestForm) {
    this.#form = form;
  }

  get form(): RequestForm {
    return this.#form;
  }

  /** Takes over what was found out elsewhere. */
  adopt(known: Partial<RequestForm>): void {
    this.#form = { ...this.#form, ...known };
  }

  /**
   * Sends a request in the form that is known to be taken, and in simpler ones while it is refused.
   * @param parts those that the request has; the others make no difference to it
   * @throws the error of the last attempt
   */
  async send<T>(parts: readonly (keyof RequestForm)[], send: (form: RequestForm) => Promise<T>): Promise<T> {
    let refusal: unknown;
    for (const form of simplerForms(this.#form, parts)) {
      try {
        const answer = await send(form);
        if (refusal !== undefined) this.#form = form;
        return answer;
      } catch (error) {
        if (!isRefusal(error) && !(form.unsignedPayloads && isForbidden(error))) throw error;
        refusal = error;
      }
    }
    throw refusal;
  }
}

/** The form itself, and then without one of the parts, without two of them, and so on: as little as possible is given up. */
function simplerForms(form: RequestForm, parts: readonly (keyof RequestForm)[]): readonly RequestForm[] {
  let subsets: readonly (readonly (keyof RequestForm)[])[] = [[]];
  for (const part of parts.filter((candidate) => form[candidate])) {
    subsets = [...subsets, ...subsets.map((subset) => [...subset, part])];
  }
  return subsets
    .toSorted((one, other) => one.length - other.length)
    .map((subset) => ({ ...form, ...Object.fromEntries(subset.map((part) => [part, false])) }));
}
