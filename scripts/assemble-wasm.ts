// Assembles src/archive/push/page-checksum.wat and writes its bytes into page-checksum-module.ts beside it: `node scripts/assemble-wasm.ts`.

import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import wabt from 'wabt';

const source = fileURLToPath(new URL('../src/archive/push/page-checksum.wat', import.meta.url));
const target = fileURLToPath(new URL('../src/archive/push/page-checksum-module.ts', import.meta.url));

/** The WebAssembly module of the text. */
export async function assembled(path: string = source): Promise<Uint8Array> {
  const assembler = await wabt();
  const module = assembler.parseWat('page-checksum.wat', await readFile(path, 'utf8'), { simd: true, threads: true });
  try {
    return module.toBinary({}).buffer;
  } finally {
    module.destroy();
  }
}

function pageOf(bytes: Uint8Array): string {
  const lines =
    Buffer.from(bytes)
      .toString('base64')
      .match(/.{1,130}/g) ?? [];
  return `/** page-checksum.wat, assembled. Made by \`node scripts/assemble-wasm.ts\`. */
export const pageChecksumModule: string = [
${lines.map((line) => `  '${line}',\n`).join('')}].join('');
`;
}

if (import.meta.main) await writeFile(target, pageOf(await assembled()));
