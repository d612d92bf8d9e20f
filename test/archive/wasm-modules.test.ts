import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { wasmModules } from '../../scripts/assemble-wasm.ts';

describe('WebAssembly', () => {
  it('is what its text is assembled to', async () => {
    const modules = await wasmModules();
    expect(modules.length).toBeGreaterThan(0);
    for (const { path, content } of modules) expect({ path, content: await readFile(path, 'utf8') }).toEqual({ path, content });
  });
});
