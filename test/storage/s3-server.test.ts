/** The strict server is strict: what S3 refuses, it refuses. */
import {
  DeleteObjectsCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { decodeChunked } from '../../src/demo/s3-server/chunked-body.ts';
import { startS3Server } from '../../src/demo/s3-server/s3-server.ts';
import type { S3Server } from '../../src/demo/s3-server/s3-server.ts';

const credentials = { accessKeyId: 'key', secretAccessKey: 'secret' };
const partBytes = 5 * 1024 * 1024;
const target = { Bucket: 'b', Key: 'k' };

describe('startS3Server', () => {
  let server: S3Server;
  let client: S3Client;

  const newClient = (options: ConstructorParameters<typeof S3Client>[0] = {}): S3Client =>
    new S3Client({ endpoint: server.endpoint, region: 'us-east-1', forcePathStyle: true, credentials, maxAttempts: 1, ...options });

  beforeEach(async () => {
    server = await startS3Server({ ...credentials, buckets: ['b'] });
    client = newClient();
  });
  afterEach(async () => {
    client.destroy();
    await server.close();
  });

  it('refuses a body that is not the one that was signed', async () => {
    const tampering = newClient();
    tampering.middlewareStack.add(
      (next) => (args) => {
        (args.request as { body: unknown }).body = Buffer.from('tampered');
        return next(args);
      },
      { step: 'finalizeRequest', priority: 'low', name: 'tamper' },
    );
    await expect(tampering.send(new PutObjectCommand({ ...target, Body: Buffer.from('original') }))).rejects.toMatchObject({
      name: 'XAmzContentSHA256Mismatch',
    });
    tampering.destroy();
    await expect(client.send(new GetObjectCommand(target))).rejects.toMatchObject({ name: 'NoSuchKey' });
  });

  it.each([
    ['SignatureDoesNotMatch', { ...credentials, secretAccessKey: 'other' }],
    ['InvalidAccessKeyId', { ...credentials, accessKeyId: 'other' }],
  ])('answers %s to wrong credentials', async (name, wrong) => {
    const stranger = newClient({ credentials: wrong });
    await expect(stranger.send(new GetObjectCommand(target))).rejects.toMatchObject({ name });
    stranger.destroy();
  });

  it('answers RequestTimeTooSkewed when the clock of the client is off', async () => {
    const late = newClient({ systemClockOffset: -3_600_000 });
    await expect(late.send(new GetObjectCommand(target))).rejects.toMatchObject({ name: 'RequestTimeTooSkewed' });
    late.destroy();
  });

  it('answers AccessDenied when nothing is signed', async () => {
    const answer = await fetch(`${server.endpoint}/b/k`);
    expect(answer.status).toBe(403);
    expect(await answer.text()).toContain('<Code>AccessDenied</Code>');
  });

  it.each([
    [{ ContentMD5: createHash('md5').update('other').digest('base64') }],
    [{ ChecksumCRC32: 'AAAAAA==' }],
    [{ ChecksumCRC32C: 'AAAAAA==' }],
    [{ ChecksumSHA1: createHash('sha1').update('other').digest('base64') }],
    [{ ChecksumSHA256: createHash('sha256').update('other').digest('base64') }],
  ])('answers BadDigest to %o', async (digest) => {
    await expect(client.send(new PutObjectCommand({ ...target, Body: Buffer.from('body'), ...digest }))).rejects.toMatchObject({
      name: 'BadDigest',
    });
  });

  it.each(['CRC32', 'CRC32C', 'SHA1', 'SHA256'] as const)('takes a right %s, also in the trailer of a stream', async (algorithm) => {
    const body = randomBytes(300_000);
    await client.send(new PutObjectCommand({ ...target, Body: body, ChecksumAlgorithm: algorithm }));
    const stream = Readable.from([body.subarray(0, 100_000), body.subarray(100_000)], { objectMode: false });
    await client.send(
      new PutObjectCommand({ ...target, Key: 'streamed', Body: stream, ContentLength: body.length, ChecksumAlgorithm: algorithm }),
    );
    for (const Key of ['k', 'streamed']) {
      const answer = await client.send(new GetObjectCommand({ ...target, Key, ChecksumMode: 'ENABLED' }));
      expect(answer[`Checksum${algorithm}`]).toBeDefined();
      expect(Buffer.from(await answer.Body!.transformToByteArray())).toEqual(body);
    }
  });

  it('answers NotImplemented to a checksum that it does not compute', async () => {
    const put = client.send(new PutObjectCommand({ ...target, Body: Buffer.from('x'), ChecksumAlgorithm: 'CRC64NVME' }));
    await expect(put).rejects.toMatchObject({ name: 'NotImplemented' });
  });

  it('refuses a DeleteObjects without any digest', async () => {
    const stripped = newClient();
    stripped.middlewareStack.add(
      (next) => (args) => {
        const { headers } = args.request as { headers: Record<string, string> };
        for (const name of Object.keys(headers)) if (name.startsWith('x-amz-checksum')) delete headers[name];
        return next(args);
      },
      { step: 'build', priority: 'low', name: 'strip' },
    );
    await expect(stripped.send(new DeleteObjectsCommand({ Bucket: 'b', Delete: { Objects: [{ Key: 'k' }] } }))).rejects.toMatchObject({
      name: 'InvalidRequest',
    });
    stripped.destroy();
  });

  it('completes an upload once, with one winner among conditional completes', async () => {
    const uploads = await Promise.all(Array.from({ length: 5 }, () => uploadOnePart(client)));
    const completes = await Promise.allSettled(uploads.map((upload) => client.send(completeCommand(upload, { IfNoneMatch: '*' }))));
    expect(completes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(completes.flatMap((one) => (one.status === 'rejected' ? [(one.reason as Error).name] : []))).toEqual(
      Array.from({ length: 4 }, () => 'PreconditionFailed'),
    );
  });

  it('keeps the rules of a multipart upload', async () => {
    const { UploadId, parts } = await uploadOnePart(client, 1000);
    const second = await client.send(new UploadPartCommand({ ...target, UploadId, PartNumber: 2, Body: Buffer.from('end') }));
    const both = [...parts, { PartNumber: 2, ETag: second.ETag }];
    const complete = (Parts: object[]): Promise<unknown> =>
      client.send(new CompleteMultipartUploadCommand({ ...target, UploadId, MultipartUpload: { Parts } }));
    expect((await client.send(new ListPartsCommand({ ...target, UploadId }))).Parts).toMatchObject([{ Size: 1000 }, { Size: 3 }]);
    expect((await client.send(new ListMultipartUploadsCommand({ Bucket: 'b' }))).Uploads).toMatchObject([{ Key: 'k', UploadId }]);
    await expect(complete(both)).rejects.toMatchObject({ name: 'EntityTooSmall' });
    await expect(complete(both.toReversed())).rejects.toMatchObject({ name: 'InvalidPartOrder' });
    await expect(complete([{ PartNumber: 1, ETag: '"0"' }])).rejects.toMatchObject({ name: 'InvalidPart' });
    await expect(complete([{ PartNumber: 9, ETag: second.ETag }])).rejects.toMatchObject({ name: 'InvalidPart' });
    await client.send(new UploadPartCommand({ ...target, UploadId, PartNumber: 1, Body: randomBytes(partBytes) }));
    await expect(complete(both)).rejects.toMatchObject({ name: 'InvalidPart' });
  });

  it('gives the tag that S3 gives', async () => {
    const first = randomBytes(partBytes);
    const { UploadId, parts } = await uploadOnePart(client, first);
    await client.send(completeCommand({ UploadId, parts }));
    const md5 = createHash('md5').update(createHash('md5').update(first).digest()).digest('hex');
    expect((await client.send(new GetObjectCommand(target))).ETag).toBe(`"${md5}-1"`);
  });

  it('pages a listing with a delimiter without losing or repeating anything', async () => {
    for (const Key of ['a', 'b/1', 'b/2', 'b/3', 'c', 'd/1', 'e'])
      await client.send(new PutObjectCommand({ Bucket: 'b', Key, Body: Buffer.from('x') }));
    const names: (string | undefined)[] = [];
    let ContinuationToken: string | undefined;
    do {
      const page = await client.send(new ListObjectsV2Command({ Bucket: 'b', Delimiter: '/', MaxKeys: 2, ContinuationToken }));
      names.push(...(page.Contents ?? []).map(({ Key }) => Key), ...(page.CommonPrefixes ?? []).map(({ Prefix }) => Prefix));
      ContinuationToken = page.NextContinuationToken;
    } while (ContinuationToken !== undefined);
    expect(names).toEqual(['a', 'b/', 'c', 'd/', 'e']);
    const after = await client.send(new ListObjectsV2Command({ Bucket: 'b', StartAfter: 'b/2' }));
    expect(after.Contents?.map(({ Key }) => Key)).toEqual(['b/3', 'c', 'd/1', 'e']);
  });

  it('keeps objects over a restart when it was given a directory, and no litter', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'walkback-s3-server-'));
    try {
      const before = await startS3Server({ ...credentials, buckets: ['b'], directory });
      const writer = newClient({ endpoint: before.endpoint });
      await writer.send(new PutObjectCommand({ ...target, Body: Buffer.from('old'), Metadata: { a: 'b' } }));
      await writer.send(new PutObjectCommand({ ...target, Body: Buffer.from('kept'), Metadata: { a: 'c' } }));
      await uploadOnePart(writer);
      writer.destroy();
      await before.close();
      const after = await startS3Server({ ...credentials, buckets: ['b'], directory });
      const reader = newClient({ endpoint: after.endpoint });
      const answer = await reader.send(new GetObjectCommand(target));
      expect(await answer.Body?.transformToString()).toBe('kept');
      expect(answer.Metadata).toEqual({ a: 'c' });
      expect(await readdir(join(directory, 'b'))).toHaveLength(2);
      reader.destroy();
      await after.close();
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });
});

describe('decodeChunked', () => {
  const text = '5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32: abcd==\r\n\r\n';

  it.each([1, 2, 3, 7, 100])('gives payload and trailer when the bytes come %d at a time', async (stepBytes) => {
    const trailer = new Map<string, string>();
    let payload = '';
    for await (const chunk of decodeChunked(inSteps(text, stepBytes), trailer)) payload += chunk.toString();
    expect(payload).toBe('hello world');
    expect(trailer.get('x-amz-checksum-crc32')).toBe('abcd==');
  });

  it.each([
    ['IncompleteBody', '5\r\nhel'],
    ['InvalidRequest', 'xyz\r\nhello\r\n'],
    ['InvalidRequest', '5\r\nhello, too long\r\n0\r\n\r\n'],
  ])('answers %s to %j', async (code, broken) => {
    const read = async (): Promise<void> => {
      for await (const _ of decodeChunked(inSteps(broken, 4), new Map()));
    };
    await expect(read()).rejects.toMatchObject({ code });
  });
});

async function* inSteps(text: string, stepBytes: number): AsyncIterable<Buffer> {
  for (let at = 0; at < text.length; at += stepBytes) yield Buffer.from(text.slice(at, at + stepBytes));
}

interface OneUpload {
  readonly UploadId: string | undefined;
  readonly parts: { PartNumber: number; ETag: string | undefined }[];
}

async function uploadOnePart(client: S3Client, content: number | Buffer = 100): Promise<OneUpload> {
  const { UploadId } = await client.send(new CreateMultipartUploadCommand({ ...target, ChecksumAlgorithm: undefined }));
  const Body = typeof content === 'number' ? randomBytes(content) : content;
  const { ETag } = await client.send(new UploadPartCommand({ ...target, UploadId, PartNumber: 1, Body }));
  return { UploadId, parts: [{ PartNumber: 1, ETag }] };
}

function completeCommand({ UploadId, parts }: OneUpload, condition: { IfNoneMatch?: string } = {}): CompleteMultipartUploadCommand {
  return new CompleteMultipartUploadCommand({ ...target, UploadId, MultipartUpload: { Parts: parts }, ...condition });
}
