/** Large memory that is not needed any more, and that nobody else looks at. */

/** Gives it back at once: the garbage collector would wait until much more than this is garbage. A view on memory that threads share is left to it. */
export function freeMemory(buffer: Buffer): void {
  if (buffer.buffer instanceof ArrayBuffer) buffer.buffer.transfer(0);
}
