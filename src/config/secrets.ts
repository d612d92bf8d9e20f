/** Credentials and keys, apart from the configuration, so that the one can be logged and the other cannot. */
import { inspect } from 'node:util';
import { WalkbackError } from '../domain/errors.ts';
import type { Environment } from './environment.ts';

const redacted = '[redacted]';

/** Where both names are set the first wins. A key in a variable wins over a file that an option names, as in WAL-G. */
export const keyVariables = {
  libsodiumKey: ['WALG_LIBSODIUM_KEY'],
  pgpKey: ['WALG_PGP_KEY'],
  pgpKeyPassphrase: ['WALG_PGP_KEY_PASSPHRASE'],
} as const;

/** Settings of WAL-G and WAL-E that ask for an encryption which we have not (wal-g: internal/configure.go, ConfigureCrypterForSpecificConfig). */
export const foreignEncryptionVariables = [
  'WALG_GPG_KEY_ID',
  'WALE_GPG_KEY_ID',
  'GPG_KEY_ID',
  'WALG_ENVELOPE_PGP_KEY',
  'WALG_ENVELOPE_PGP_KEY_PATH',
  'WALG_CSE_KMS_ID',
  'YC_CSE_KMS_KEY_ID',
] as const;

type SecretValues = {
  readonly [Name in keyof typeof secretVariables | keyof typeof keyVariables | 'foreignEncryption']?: string | undefined;
};

/** Credentials of the object store and keys of its content. Without credentials the AWS SDK looks for them in its own chain (profile, instance role, web identity). */
export class Secrets {
  readonly awsAccessKeyId: string | undefined;
  readonly awsSecretAccessKey: string | undefined;
  readonly awsSessionToken: string | undefined;

  readonly libsodiumKey: string | undefined;
  /** Armored. */
  readonly pgpKey: string | undefined;
  readonly pgpKeyPassphrase: string | undefined;
  /** Name of a variable that asks for an encryption which we have not. */
  readonly foreignEncryption: string | undefined;

  constructor(values: SecretValues) {
    this.awsAccessKeyId = values.awsAccessKeyId;
    this.awsSecretAccessKey = values.awsSecretAccessKey;
    this.awsSessionToken = values.awsSessionToken;
    this.libsodiumKey = values.libsodiumKey;
    this.pgpKey = values.pgpKey;
    this.pgpKeyPassphrase = values.pgpKeyPassphrase;
    this.foreignEncryption = values.foreignEncryption;
  }

  /** Which secrets are there, never what they are. */
  toJSON(): Readonly<Record<string, string>> {
    const present = Object.entries(this).filter(([, value]) => value !== undefined);
    return Object.fromEntries(present.map(([name]) => [name, redacted]));
  }

  toString(): string {
    return redacted;
  }

  [inspect.custom](): object {
    return this.toJSON();
  }
}

/** Variables of credentials; where both names are set the first wins (wal-g: pkg/storages/s3/configure.go). */
export const secretVariables = {
  awsAccessKeyId: ['AWS_ACCESS_KEY_ID', 'AWS_ACCESS_KEY'],
  awsSecretAccessKey: ['AWS_SECRET_ACCESS_KEY', 'AWS_SECRET_KEY'],
  awsSessionToken: ['AWS_SESSION_TOKEN'],
} as const;

/**
 * Takes the credentials from the first environment that names a key: id, secret and token belong together and are never mixed. Keys of the content
 * come each from the first environment that has it.
 * @throws WalkbackError INVALID_CONFIGURATION when only half of a pair of credentials is there
 */
export function readSecrets(environments: readonly Environment[]): Secrets {
  return new Secrets({ ...credentialsOf(environments), ...keysOf(environments) });
}

function keysOf(environments: readonly Environment[]): SecretValues {
  const found = (names: readonly string[]): string | undefined =>
    environments.map((environment) => firstOf(environment, names)).find((value) => value !== undefined);
  return {
    libsodiumKey: found(keyVariables.libsodiumKey),
    pgpKey: found(keyVariables.pgpKey),
    pgpKeyPassphrase: found(keyVariables.pgpKeyPassphrase),
    foreignEncryption: foreignEncryptionVariables.find((name) => found([name]) !== undefined),
  };
}

function credentialsOf(environments: readonly Environment[]): SecretValues {
  for (const environment of environments) {
    const [awsAccessKeyId, awsSecretAccessKey, awsSessionToken] = Object.values(secretVariables).map((names) =>
      firstOf(environment, names),
    );
    if (awsAccessKeyId === undefined && awsSecretAccessKey === undefined) continue;
    if (awsAccessKeyId === undefined || awsSecretAccessKey === undefined) {
      const missing = awsAccessKeyId === undefined ? 'AWS_ACCESS_KEY_ID' : 'AWS_SECRET_ACCESS_KEY';
      throw new WalkbackError(
        'INVALID_CONFIGURATION',
        `The credentials are incomplete: ${missing} is not set where the other half of them is.`,
        {
          hint: 'Set both in the environment or both in the envdir folder, or neither to use the chain of the AWS SDK.',
        },
      );
    }
    return { awsAccessKeyId, awsSecretAccessKey, awsSessionToken };
  }
  return {};
}

function firstOf(environment: Environment, names: readonly string[]): string | undefined {
  return names.map((name) => environment[name]).find((value) => value !== undefined && value !== '');
}
