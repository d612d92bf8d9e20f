// Assembles each of the project's .wat files and writes its bytes into a module beside it, x.wat into x-module.ts: `node scripts/assemble-wasm.ts`.

import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { basename } from 'node:path';
import wabt from 'wabt';

/** All of them, from the project's root. */
const texts = [
  'src/archive/push/page-checksum.wat',
  'src/archive/push/crc32c.wat',
  'src/archive/compression/lz4.wat',
  'src/storage/crc64-nvme.wat',
];

/** A module's file, and what it must hold. */
interface WasmModule {
  readonly path: string;
  readonly content: string;
}

/** What the modules of all .wat files must hold. */
export async function wasmModules(): Promise<readonly WasmModule[]> {
  const paths = texts.map((path) => fileURLToPath(new URL(`../${path}`, import.meta.url)));
  return await Promise.all(
    paths.map(async (path) => ({ path: path.replace(/\.wat$/, '-module.ts'), content: moduleOf(path, await assembled(path)) })),
  );
}

async function assembled(path: string): Promise<Uint8Array> {
  const assembler = await wabt();
  const module = assembler.parseWat(basename(path), await readFile(path, 'utf8'), { simd: true, threads: true });
  try {
    return module.toBinary({}).buffer;
  } finally {
    module.destroy();
  }
}

function moduleOf(path: string, bytes: Uint8Array): string {
  const lines =
    Buffer.from(bytes)
      .toString('base64')
      .match(/.{1,130}/g) ?? [];
  const name = basename(path, '.wat').replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
  return `/** ${basename(path)}, assembled. Made by \`node scripts/assemble-wasm.ts\`. */
export const ${name}Module: string = [
${lines.map((line) => `  '${line}',\n`).join('')}].join('');
`;
}

if (import.meta.main) for (const { path, content } of await wasmModules()) await writeFile(path, content);
