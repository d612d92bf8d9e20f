/** What a store really enforces, measured: compatible stores answer 200 to conditions they ignore. */
import { randomUUID } from 'node:crypto';
import type { StoreCapabilities } from '../domain/store-capabilities.ts';
import { type ObjectStore, readObject } from './object-store.ts';

/** Where the probe writes; every run has a name of its own. */
const probeFolder = 'walkback_001/probe';
const probeBytes = Buffer.from('walkback capability probe');

/**
 * Writes, reads, lists and removes a few small objects. @throws WalkbackError when the store cannot be written to or read from at all
 */
export async function probeCapabilities(store: ObjectStore): Promise<StoreCapabilities> {
  const folder = `${probeFolder}/${randomUUID()}`;
  const key = `${folder}/metadata`;
  try {
    const enforced = await store.probe(folder);
    await store.put(key, probeBytes, { metadata: { probe: 'yes' } });
    const info = await store.head(key);
    return { ...enforced, rangedRead: await readsRange(store, key), metadata: info?.metadata?.['probe'] === 'yes' };
  } finally {
    await store.delete([key, `${folder}/object`, `${folder}/deeper/object`]);
  }
}

/** An ignored range shows as an error of the store or as other bytes. Only when the whole object can be read does that speak of ranges. */
async function readsRange(store: ObjectStore, key: string): Promise<boolean> {
  await readObject(store, key, { maximumBytes: probeBytes.length });
  try {
    const object = await store.get(key, { range: { startBytes: 9, endBytes: 19 } });
    const chunks: Buffer[] = [];
    for await (const chunk of (object?.body ?? []) as AsyncIterable<Buffer>) chunks.push(chunk);
    return Buffer.concat(chunks).equals(probeBytes.subarray(9, 19));
  } catch {
    // The whole object was read a moment ago: what fails is the range.
    return false;
  }
}
