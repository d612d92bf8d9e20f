/** The archives that a process works with: each opened once, all closed with the process. */
import type { Configuration } from '../config/configuration.ts';
import type { Secrets } from '../config/secrets.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import { openObjectStore, type StorageSettings } from '../storage/open-object-store.ts';

/** Open stores by URL. */
export class OpenStores implements AsyncDisposable {
  readonly #settings: StorageSettings;
  readonly #stores = new Map<string, ObjectStore>();

  constructor(configuration: Configuration, secrets: Secrets) {
    this.#settings = storageSettings(configuration, secrets);
  }

  /** Opens an archive, or gives the one that is open. @throws WalkbackError INVALID_CONFIGURATION */
  open(url: string): ObjectStore {
    const store = this.#stores.get(url) ?? openObjectStore(url, this.#settings);
    this.#stores.set(url, store);
    return store;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const store of this.#stores.values()) await store[Symbol.asyncDispose]();
    this.#stores.clear();
  }
}

const mebibyte = 1024 * 1024;

/** What the configuration says about S3, in the words of the storage room. */
export function storageSettings({ storage }: Configuration, secrets: Secrets): StorageSettings {
  const { endpoint, region, forcePathStyle, storageClass, sse, sseKmsKeyId, partSizeMib } = storage;
  const { awsAccessKeyId, awsSecretAccessKey, awsSessionToken } = secrets;
  const session = awsSessionToken === undefined ? {} : { sessionToken: awsSessionToken };
  const credentials =
    awsAccessKeyId === undefined || awsSecretAccessKey === undefined
      ? {}
      : { credentials: { accessKeyId: awsAccessKeyId, secretAccessKey: awsSecretAccessKey, ...session } };
  return {
    ...credentials,
    ...(endpoint === undefined ? {} : { endpoint, forcePathStyle }),
    ...(region === undefined ? {} : { region }),
    ...(sse === undefined ? {} : { serverSideEncryption: sse }),
    ...(sseKmsKeyId === undefined ? {} : { kmsKeyId: sseKmsKeyId }),
    storageClass,
    partBytes: partSizeMib * mebibyte,
  };
}
