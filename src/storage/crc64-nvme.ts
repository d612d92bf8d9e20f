/** CRC-64/NVME: what S3 keeps of objects that were stored without a checksum. The SDK has it in JavaScript only, a quarter as fast. */
import { copyBytes } from './copy-bytes.ts';
import { crc64NvmeModule } from './crc64-nvme-module.ts';

/** What crc64-nvme.wat exports, and where it takes bytes from. */
interface Crc64Functions {
  readonly memory: WebAssembly.Memory<ArrayBuffer>;
  readonly update: (sum: bigint, start: number, end: number) => bigint;
}
const stagedOffsetBytes = 64 * 1024;
const stagedBytes = 128 * 1024;

const module = new WebAssembly.Module(Buffer.from(crc64NvmeModule, 'base64'));
const { memory, update } = new WebAssembly.Instance(module, {}).exports as unknown as Crc64Functions;
const staged = Buffer.from(memory.buffer, stagedOffsetBytes, stagedBytes);

/** Takes bytes in pieces of any size. */
export class Crc64Nvme {
  #sum = -1n;

  update(bytes: Uint8Array): void {
    for (let takenBytes = 0; takenBytes < bytes.length;) {
      const copiedBytes = copyBytes(bytes.subarray(takenBytes), staged, 0);
      this.#sum = update(this.#sum, stagedOffsetBytes, stagedOffsetBytes + copiedBytes);
      takenBytes += copiedBytes;
    }
  }

  /** Eight bytes, the highest first. */
  digest(): Buffer {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64BE(BigInt.asUintN(64, ~this.#sum));
    return bytes;
  }
}
