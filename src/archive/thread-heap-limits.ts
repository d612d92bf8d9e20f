/**
 * What a thread's heap may hold. Data lies in buffers and in memory that threads share, which do not count: on the heap is code, and garbage, of which
 * V8 lets hundreds of MiB lie on a host with much memory (fetching 600,000 small files: 367 MiB without, 265 MiB with this).
 */
export const threadHeapLimits = { maxOldGenerationSizeMb: 96, maxYoungGenerationSizeMb: 16 } as const;
