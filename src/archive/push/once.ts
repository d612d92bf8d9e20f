/** A step that is done once: its result is kept, and a failure is tried again. */

export class Once<T> {
  #done: { readonly value: T } | undefined;

  async get(step: () => Promise<T>): Promise<T> {
    this.#done ??= { value: await step() };
    return this.#done.value;
  }
}
