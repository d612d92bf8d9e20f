/**
 * Every option of walkback.yaml: its form, its default and a sentence on what it does. docs/configuration.md shows all of them, and a test
 * holds the two together. Credentials are no options: they come from the environment, an envdir folder, or the chain of the AWS SDK.
 */
import { z } from 'zod';

/** Unix sockets have a path of at most 103 (macOS) or 107 bytes (Linux); PostgreSQL's lie one folder deeper than what is named here. */
const socketPathMaximumBytes = 100;

const absolutePath = z.string().startsWith('/', 'must be an absolute path');
const socketPath = absolutePath.refine(
  (path) => Buffer.byteLength(path) <= socketPathMaximumBytes,
  `must be at most ${socketPathMaximumBytes} bytes long: the system's limit for unix sockets`,
);

/** Becomes part of file names, task queue names and archive prefixes. */
export const nameSchema = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/, 'must be 1 to 63 letters, digits, _ or -, beginning with a letter or digit');

const archiveUrl = z
  .string()
  .regex(/^(s3:\/\/[^/\s]+(\/\S*)?|file:\/\/\/.*)$/, 'must be s3://bucket/prefix or file:///directory')
  .transform((url) => url.replace(/\/+$/, ''));

/** The names of the codecs in src/archive/compression.ts, which are WAL-G's. */
const compressions = ['zstd', 'lz4', 'brotli', 'none'] as const;

/** The names in src/archive/encryption.ts, and of WAL-G's WALG_LIBSODIUM_KEY_TRANSFORM. */
const writtenEncryptions = ['libsodium', 'none'] as const;
const keyTransforms = ['none', 'hex', 'base64'] as const;

const hostOptions = z.strictObject({
  id: nameSchema
    .optional()
    .describe(
      'Stable name of this machine; the agent takes work from the task queue `walkback-host-<id>`. Needed by the agent. Default: none.',
    ),
  state_directory: absolutePath
    .default('/var/lib/walkback')
    .describe('Where the agent keeps what must survive its restart: registrations of clusters and restores.'),
  socket: socketPath.optional().describe('Unix socket of the agent, at most 100 bytes long. Default: `<state_directory>/agent.sock`.'),
  run_directory: absolutePath
    .optional()
    .describe('Where restores that are not open yet have their private PostgreSQL sockets. Default: `<state_directory>/run`.'),
  postgres_bin_directories: z
    .array(absolutePath)
    .default([])
    .describe(
      'Directories with the programs of a PostgreSQL major (`postgres`, `pg_ctl`), searched in this order before the usual places.',
    ),
  listen_addresses: z
    .string()
    .default('localhost')
    .describe('listen_addresses of a restored cluster when it is opened to clients, unless the request says otherwise.'),
  wal_backlog_warn_segments: z
    .int()
    .min(1)
    .default(64)
    .describe('An alarm is raised when so many WAL files wait to be archived. None is ever dropped.'),
  wal_backlog_warn_age_seconds: z.int().min(1).default(600).describe('An alarm is raised when a WAL file waits for so long, in seconds.'),
  pg_wal_free_warn_mib: z
    .int()
    .min(0)
    .default(2048)
    .describe('An alarm is raised when the disk of pg_wal has less room than this, in MiB.'),
  free_disk_margin_mib: z
    .int()
    .min(0)
    .default(256)
    .describe(
      'A restore is refused unless so much room remains beyond its base backup and WAL, in MiB: for temporary files, logs and what clients write.',
    ),
  wal_fetch_patience_seconds: z
    .int()
    .min(1)
    .max(3600)
    .default(300)
    .describe(
      'How long a restore bears a store that does not answer before its PostgreSQL is stopped, in seconds; it is started again on the same directory.',
    ),
});

const host = hostOptions.refine(({ state_directory, socket }) => socketPath.safeParse(socket ?? `${state_directory}/agent.sock`).success, {
  path: ['state_directory'],
  error: `leaves no room for agent.sock in ${socketPathMaximumBytes} bytes: set host.socket to a shorter path`,
});

const storage = z.strictObject({
  prefix: archiveUrl
    .optional()
    .describe('Where clusters without an `archive` of their own live, restored ones included: `<prefix>/<cluster>`. Default: none.'),
  endpoint: z
    .url({ protocol: /^https?$/, error: 'must be an http:// or https:// address' })
    .refine((url) => !url.includes('@'), 'must not hold credentials')
    .optional()
    .describe('Address of an S3-compatible store. Default: Amazon S3.'),
  region: z
    .string()
    .optional()
    .describe('Region of the bucket. Default: what the AWS SDK finds, `us-east-1` with an endpoint of your own.'),
  force_path_style: z
    .boolean()
    .default(false)
    .describe('Put the bucket into the path instead of the host name, as most S3-compatible stores need.'),
  storage_class: z.string().default('STANDARD').describe('S3 storage class of new objects.'),
  sse: z.enum(['AES256', 'aws:kms']).optional().describe('Encryption by the store: `AES256` or `aws:kms`. Default: what the bucket says.'),
  sse_kms_key_id: z.string().optional().describe('Key for `sse: aws:kms`. Default: none.'),
  compression: z
    .enum(compressions, { error: (issue) => `"${String(issue.input)}" is not written; use one of ${compressions.join(', ')}` })
    .default('zstd')
    .describe('Compression of new objects: `zstd`, `lz4`, `brotli` or `none`. Reading goes by the extension of each object.'),
  encryption: z
    .enum(writtenEncryptions, { error: (issue) => `"${String(issue.input)}" is not written; use one of ${writtenEncryptions.join(', ')}` })
    .optional()
    .describe(
      'Encryption of new objects: `libsodium`, or `none` although keys for reading are there. Default: `libsodium` with a libsodium key alone, `none` without any key; with an OpenPGP key nothing is written.',
    ),
  libsodium_key_file: absolutePath
    .optional()
    .describe('File with the libsodium key, readable by its owner only. `WALG_LIBSODIUM_KEY` wins over it. Default: none.'),
  libsodium_key_transform: z
    .enum(keyTransforms)
    .default('none')
    .describe('What the key is written as: `hex` or `base64` of 32 bytes, or `none`: a text of at least 25 bytes, filled up or cut to 32.'),
  libsodium_accept_missing_end: z
    .boolean()
    .default(false)
    .describe('To salvage what is left: an object whose encrypted data lacks its end is read as far as it goes, instead of being damaged.'),
  pgp_key_file: absolutePath
    .optional()
    .describe(
      'File with an armored OpenPGP private key, for reading, readable by its owner only. `WALG_PGP_KEY` wins over it. Default: none.',
    ),
  pgp_key_passphrase_file: absolutePath
    .optional()
    .describe('File whose first line is the passphrase of that key. `WALG_PGP_KEY_PASSPHRASE` wins over it. Default: none.'),
  envdir: absolutePath
    .optional()
    .describe(
      'Folder of variables as daemontools defines it: one file a variable, its first line the value. Readable by its owner only. Default: none.',
    ),
  upload_concurrency: z
    .int()
    .min(1)
    .max(64)
    .default(4)
    .describe('How many parts of a base backup are uploaded at once; each takes memory of a few parts.'),
  download_concurrency: z.int().min(1).max(64).default(4).describe('How many parts of a base backup are fetched at once.'),
  part_size_mib: z
    .int()
    .min(5)
    .max(1024)
    .default(16)
    .describe('Size of one piece of a multipart upload, in MiB; S3 takes 10,000 of them for an object.'),
  tar_partition_mib: z
    .int()
    .min(1)
    .max(10_240)
    .default(128)
    .describe(
      'Uncompressed content of one tar partition of a base backup, in MiB; what a fetch that was interrupted has to repeat at most.',
    ),
});

const backup = z.strictObject({
  max_incremental_chain: z
    .int()
    .min(0)
    .max(1000)
    .default(6)
    .describe('How many incremental backups may build on a full one, each on the one before; the next is a full one.'),
  manifest_checksum: z
    .enum(['crc32c', 'sha256'])
    .default('crc32c')
    .describe("Checksum of each file in the backup's `backup_manifest`: `crc32c`, as PostgreSQL has it by default, or `sha256`."),
  on_damaged_pages: z
    .enum(['report', 'fail'])
    .default('report')
    .describe(
      'When pages have a wrong checksum: `report` takes the backup, marks it and names them; `fail` takes none, so that nobody trusts it.',
    ),
});

const cluster = z.strictObject({
  host: nameSchema.optional().describe('Id of the host the cluster runs on. Default: `host.id` of this file.'),
  data_directory: absolutePath.describe('The data directory, on that host. Required.'),
  socket_directory: absolutePath.default('/var/run/postgresql').describe('Directory of the unix socket over which the agent logs in.'),
  address: z.string().optional().describe('Host name or address to connect to instead of the unix socket. Default: none.'),
  port: z.int().min(1).max(65_535).default(5432).describe('Port of the server.'),
  user: z.string().default('postgres').describe('Superuser the agent logs in as.'),
  database: z.string().default('postgres').describe('Database the agent connects to.'),
  archive: archiveUrl
    .optional()
    .describe('Archive of this cluster alone, `s3://bucket/prefix` or `file:///directory`. Default: `<storage.prefix>/<cluster>`.'),
  bin_directory: absolutePath.optional().describe("Directory with this cluster's PostgreSQL programs. Default: found by version."),
});

const temporal = z.strictObject({
  profile: z
    .string()
    .optional()
    .describe(
      'Profile of the Temporal configuration file (`temporal.toml`) and its TEMPORAL_* variables. Default: what TEMPORAL_PROFILE names, else `default`.',
    ),
  task_queue: z.string().min(1).default('walkback').describe('Task queue of workflows and of activities that need only the archive.'),
});

const logging = z.strictObject({
  level: z.enum(['debug', 'info', 'warn', 'error']).default('info').describe('The least important messages that are written.'),
  format: z.enum(['json', 'pretty']).default('json').describe('`json` for collectors, `pretty` for people.'),
});

/** The whole of walkback.yaml. A missing section has its defaults. */
export const configurationSchema = z.strictObject({
  host: host.prefault({}),
  storage: storage
    .refine(({ sse, sse_kms_key_id }) => (sse === 'aws:kms') === (sse_kms_key_id !== undefined), {
      path: ['sse_kms_key_id'],
      error: 'belongs to `sse: aws:kms`, and that to it',
    })
    .prefault({}),
  backup: backup.prefault({}),
  clusters: z.record(nameSchema, cluster).default({}),
  temporal: temporal.prefault({}),
  logging: logging.prefault({}),
});

/** walkback.yaml after checks and defaults, under its own names. */
export type ParsedConfiguration = z.infer<typeof configurationSchema>;
