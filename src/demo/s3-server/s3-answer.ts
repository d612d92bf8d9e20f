/** An answer before it is sent. */
import { writeXml } from './xml.ts';
import type { XmlElements } from './xml.ts';

/** What an operation answers. A body that is iterated is sent as it comes, and needs its length among the headers. */
export interface S3Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | number>>;
  readonly body?: string | AsyncIterable<Buffer>;
}

/** An answer without a body. */
export function emptyAnswer(status: number, headers: S3Answer['headers'] = {}): S3Answer {
  // Without a length Node would announce a chunked body.
  return { status, headers: status === 200 ? { 'content-length': 0, ...headers } : headers };
}

/** A document. */
export function xmlAnswer(name: string, content: XmlElements, options: { readonly status?: number } = {}): S3Answer {
  const body = writeXml(name, content);
  return {
    status: options.status ?? 200,
    headers: { 'content-type': 'application/xml', 'content-length': Buffer.byteLength(body) },
    body,
  };
}
