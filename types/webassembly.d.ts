/** The part of the WebAssembly JavaScript interface that is used; TypeScript has it in its library for browsers only. */
declare namespace WebAssembly {
  interface Module {
    readonly [Symbol.toStringTag]: string;
  }
  const Module: new (bytes: Uint8Array) => Module;
  class Memory<B extends ArrayBufferLike = ArrayBufferLike> {
    constructor(descriptor: {
      readonly initial: number;
      readonly maximum: number;
      readonly shared: B extends SharedArrayBuffer ? true : false;
    });
    readonly buffer: B;
  }
  class Instance {
    constructor(module: Module, imports: Readonly<Record<string, Readonly<Record<string, unknown>>>>);
    readonly exports: Readonly<Record<string, unknown>>;
  }
}
