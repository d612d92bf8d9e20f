/** Credentials, apart from the configuration, so that the one can be logged and the other cannot. */
import { inspect } from 'node:util';
import { WalkbackError } from '../domain/errors.ts';
import type { Environment } from './environment.ts';

const redacted = '[redacted]';

/** Credentials of the object store. All undefined: the AWS SDK looks for them in its own chain (profile, instance role, web identity). */
export class Secrets {
  readonly awsAccessKeyId: string | undefined;
  readonly awsSecretAccessKey: string | undefined;
  readonly awsSessionToken: string | undefined;

  constructor(values: { readonly awsAccessKeyId?: string; readonly awsSecretAccessKey?: string; readonly awsSessionToken?: string }) {
    this.awsAccessKeyId = values.awsAccessKeyId;
    this.awsSecretAccessKey = values.awsSecretAccessKey;
    this.awsSessionToken = values.awsSessionToken;
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
 * Takes the credentials from the first environment that names a key: id, secret and token belong together and are never mixed.
 * @throws WalkbackError INVALID_CONFIGURATION when only half of a pair is there
 */
export function readSecrets(environments: readonly Environment[]): Secrets {
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
    return new Secrets({ awsAccessKeyId, awsSecretAccessKey, ...(awsSessionToken === undefined ? {} : { awsSessionToken }) });
  }
  return new Secrets({});
}

function firstOf(environment: Environment, names: readonly string[]): string | undefined {
  return names.map((name) => environment[name]).find((value) => value !== undefined && value !== '');
}
