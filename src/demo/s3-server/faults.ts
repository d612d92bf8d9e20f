/** Troubles that a real store makes now and then, made on request. */
import type { IncomingMessage } from 'node:http';
import type { S3Answer } from './s3-answer.ts';
import type { S3ErrorCode } from './s3-error.ts';
import type { S3Operation } from './s3-request.ts';

/** A place in the payload of an answer to GetObject: so many bytes come before it, or such a share of all of them (from 0 to below 1). */
export type BodyPlace = number | { readonly share: number };

/** One trouble. */
export type Fault =
  /** Answers an error at once, without doing anything: SlowDown, InternalError, AccessDenied, NoSuchKey. */
  | { readonly kind: 'error'; readonly code: S3ErrorCode }
  /** Breaks the connection without doing anything. */
  | { readonly kind: 'reset-before-answer' }
  /** Does what was asked and then breaks the connection. */
  | { readonly kind: 'lose-answer' }
  /** Waits before doing what was asked. */
  | { readonly kind: 'delay'; readonly delayMs: number }
  /** Waits for the promise before doing what was asked, or between doing and answering. */
  | { readonly kind: 'hold-request' | 'hold-answer'; readonly until: Promise<void> }
  /** Answers CompleteMultipartUpload with 200 and an error as its body, without doing anything. */
  | { readonly kind: 'error-in-200' }
  | { readonly kind: 'reset-mid-body'; readonly afterBytes: BodyPlace }
  /** Sends nothing more and keeps the connection. */
  | { readonly kind: 'stall-mid-body'; readonly afterBytes: BodyPlace }
  /** Ends the connection in good order, but too early. */
  | { readonly kind: 'truncate'; readonly afterBytes: BodyPlace }
  /** Sends one bit otherwise than it is stored: of a digit it leaves a digit. */
  | { readonly kind: 'corrupt'; readonly atByte: BodyPlace };

/** What a fault is chosen by. */
interface FaultRequest {
  readonly operation: S3Operation;
  readonly method: string;
  readonly bucket: string;
  readonly key: string;
  /** 1 for the first request with this operation and key. */
  readonly attempt: number;
}

/** Chooses a fault for a request, or none. */
export type FaultInjector = (request: FaultRequest) => Fault | undefined;

/** Lets a fault have its way with the body of an answer. */
export function spoilBody(answer: S3Answer, fault: Fault | undefined, http: IncomingMessage): S3Answer {
  const { body, headers } = answer;
  const bytesBefore = (place: BodyPlace): number =>
    typeof place === 'number' ? place : Math.floor(place.share * Number(headers['content-length']));
  if (fault === undefined || body === undefined || typeof body === 'string') return answer;
  switch (fault.kind) {
    case 'corrupt':
      return { ...answer, body: corrupt(body, bytesBefore(fault.atByte)) };
    case 'reset-mid-body':
      return { ...answer, body: cut(body, bytesBefore(fault.afterBytes), async () => void http.socket.resetAndDestroy()) };
    case 'truncate':
      return { ...answer, body: cut(body, bytesBefore(fault.afterBytes), async () => http.socket.destroySoon()) };
    case 'stall-mid-body':
      return { ...answer, body: cut(body, bytesBefore(fault.afterBytes), () => socketClosed(http)) };
    default:
      return answer;
  }
}

/** Passes so many bytes on, and then waits for the end of the connection in the way that was asked for. */
async function* cut(body: AsyncIterable<Buffer>, afterBytes: number, end: () => Promise<void>): AsyncIterable<Buffer> {
  let remainingBytes = afterBytes;
  for await (const chunk of body) {
    if (chunk.length >= remainingBytes) {
      yield chunk.subarray(0, remainingBytes);
      break;
    }
    remainingBytes -= chunk.length;
    yield chunk;
  }
  await end();
}

async function* corrupt(body: AsyncIterable<Buffer>, atByte: number): AsyncIterable<Buffer> {
  let startBytes = 0;
  for await (const chunk of body) {
    const at = atByte - startBytes;
    if (at >= 0 && at < chunk.length) chunk.writeUInt8(chunk.readUInt8(at) ^ 0x01, at);
    startBytes += chunk.length;
    yield chunk;
  }
}

function socketClosed(http: IncomingMessage): Promise<void> {
  return new Promise((resolve) => void http.socket.once('close', () => resolve()));
}
