/** From a storage URL to a store. */
import { fileURLToPath } from 'node:url';
import { WalkbackError } from '../domain/errors.ts';
import { createFileObjectStore } from './file-object-store.ts';
import type { ObjectStore } from './object-store.ts';
import { createS3ObjectStore } from './s3-object-store.ts';
import type { S3StoreOptions } from './s3-options.ts';

/** What a URL does not say: the options of an S3 store. A directory needs none of them. */
export type StorageSettings = Omit<S3StoreOptions, 'bucket' | 'prefix'>;

// The names that the S3 user guide allows, and underscores and capitals, which old buckets and compatible stores have.
const s3Pattern = /^s3:\/\/([A-Za-z0-9][A-Za-z0-9._-]{1,254})(?:\/(.*))?$/s;

/**
 * Opens `s3://bucket/prefix`, `file:///directory`, `file://localhost/directory`, or WAL-G's bare `/directory`.
 * Nothing is sent or touched before the first request. @throws WalkbackError INVALID_CONFIGURATION
 */
export function openObjectStore(url: string, settings: StorageSettings): ObjectStore {
  if (url.startsWith('/')) return createFileObjectStore({ directory: url });
  if (url.startsWith('file://')) return createFileObjectStore({ directory: directoryOf(url) });
  const match = s3Pattern.exec(url);
  const bucket = match?.[1];
  if (bucket === undefined) throw invalidUrl(url);
  const prefix = (match?.[2] ?? '').replace(/\/+$/, '');
  if (prefix.split('/').some((part) => part === '.' || part === '..' || (part === '' && prefix !== ''))) throw invalidUrl(url);
  return createS3ObjectStore({ ...settings, bucket, prefix });
}

function directoryOf(url: string): string {
  try {
    const parsed = new URL(url);
    if (parsed.hostname === 'localhost') parsed.hostname = '';
    return fileURLToPath(parsed);
  } catch (error) {
    throw invalidUrl(url, error);
  }
}

function invalidUrl(url: string, cause?: unknown): WalkbackError {
  // Somebody may have put a password before the @.
  const shown = url.replace(/\/\/[^/]*@/, '//…@');
  return new WalkbackError('INVALID_CONFIGURATION', `${JSON.stringify(shown)} is not a storage URL.`, {
    hint: 'Write s3://bucket/prefix or file:///directory.',
    cause,
  });
}
