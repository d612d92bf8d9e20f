/**
 * Temporal's address, namespace and credentials: from `@temporalio/envconfig`, so that the variables and the temporal.toml of Temporal's own
 * tools work here unchanged (https://docs.temporal.io/develop/environment-configuration).
 */
import { Client, Connection, defaultGrpcRetryOptions, makeGrpcRetryInterceptor } from '@temporalio/client';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { messageOf, WalkbackError } from '../domain/errors.ts';
import { endCallsAfterClose } from './calls-after-close.ts';

/** Where Temporal is; absent values come from the environment and temporal.toml. */
export interface TemporalSettings {
  /** Profile of temporal.toml. */
  readonly profile?: string;
  /** `host:port`; goes before everything else. */
  readonly address?: string;
  readonly namespace?: string;
}

/** What both kinds of connection take. */
export interface TemporalConnectionOptions {
  readonly namespace: string;
  readonly connectionOptions: NonNullable<ReturnType<typeof loadClientConnectConfig>['connectionOptions']>;
}

/** How long one attempt to reach Temporal may take. */
const connectTimeoutMs = 5000;

/** Reads the settings. @throws WalkbackError INVALID_CONFIGURATION for a profile that does not exist or a file that cannot be read */
export function loadTemporalOptions(settings: TemporalSettings = {}): TemporalConnectionOptions {
  try {
    const loaded = loadClientConnectConfig(settings.profile === undefined ? {} : { profile: settings.profile });
    return {
      namespace: settings.namespace ?? loaded.namespace ?? 'default',
      connectionOptions: { ...loaded.connectionOptions, ...(settings.address === undefined ? {} : { address: settings.address }) },
    };
  } catch (error) {
    throw new WalkbackError('INVALID_CONFIGURATION', `Temporal's connection settings cannot be used: ${messageOf(error)}.`, {
      hint: 'Check TEMPORAL_PROFILE, TEMPORAL_CONFIG_FILE and the profile in temporal.toml.',
      cause: error,
    });
  }
}

/** A client, and the connection to close when done. */
export interface TemporalClient extends AsyncDisposable {
  readonly client: Client;
  readonly namespace: string;
}

/** Connects. @throws WalkbackError TEMPORAL_UNREACHABLE naming the address */
export async function connectTemporal(settings: TemporalSettings = {}): Promise<TemporalClient> {
  const { namespace, connectionOptions } = loadTemporalOptions(settings);
  const address = connectionOptions.address ?? 'localhost:7233';
  try {
    const interceptors = [makeGrpcRetryInterceptor(defaultGrpcRetryOptions()), endCallsAfterClose];
    const connection = await Connection.connect({ ...connectionOptions, interceptors, connectTimeout: connectTimeoutMs });
    return { client: new Client({ connection, namespace }), namespace, [Symbol.asyncDispose]: () => connection.close() };
  } catch (error) {
    throw new WalkbackError('TEMPORAL_UNREACHABLE', `Temporal does not answer at ${address}: ${messageOf(error)}.`, {
      facts: { address },
      cause: error,
    });
  }
}
