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
}

/** Answers that may mean that the store does not know a header. A wrong checksum or a broken condition has codes of its own. */
const refusalCodes: ReadonlySet<string> = new Set(['InvalidArgument', 'InvalidRequest', 'NotImplemented', 'UnsupportedHeader']);

/** Does the answer say that the store does not know something in the request? */
export function isRefusal(error: unknown): boolean {
  const status = httpStatusOf(error);
  return status === 501 || (status === 400 && refusalCodes.has(storeCodeOf(error) ?? ''));
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
        if (!isRefusal(error)) throw error;
        refusal = error;
      }
    }
    throw refusal;
  }
}

/** The form itself, then without each of the parts, then without all of them. */
function simplerForms(form: RequestForm, parts: readonly (keyof RequestForm)[]): readonly RequestForm[] {
  const removable = parts.filter((part) => form[part]);
  const without = (...left: readonly (keyof RequestForm)[]): RequestForm => ({
    ...form,
    ...Object.fromEntries(left.map((part) => [part, false])),
  });
  const single = removable.map((part) => without(part));
  return [form, ...single, ...(removable.length > 1 ? [without(...removable)] : [])];
}
