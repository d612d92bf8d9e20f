/** Has a request without a body sent over connections of our own, after the SDK signed it; its answer, and trying again, is the SDK's. */
import type { HttpConnections } from './connections.ts';
import type { Origin } from './connection.ts';

/** Where `overConnections` belongs in the middleware of a command: last of all, in place of the SDK's handler. */
export const ownConnectionsStep = { step: 'deserialize', priority: 'low', name: 'walkbackConnections' } as const;

/** What the SDK made of a command: a request as in its HttpRequest. */
interface SignedRequest {
  readonly method: string;
  readonly protocol: string;
  readonly hostname: string;
  readonly port?: number;
  readonly path: string;
  readonly query?: Readonly<Record<string, string | readonly string[] | null>>;
  readonly headers: Readonly<Record<string, string>>;
}

/** A middleware that sends the request. */
export function overConnections<Result>(
  connections: HttpConnections,
  signal: AbortSignal,
): () => (args: { readonly request: unknown }) => Promise<Result> {
  return () => async (args) => {
    const request = args.request as SignedRequest;
    const { method, headers } = request;
    const response = await connections.ask(originOf(request), { method, headers, path: pathOf(request) }, signal);
    return { response } as Result;
  };
}

function originOf({ protocol, hostname, port }: SignedRequest): Origin {
  const isTls = protocol === 'https:';
  // The brackets of an IPv6 address belong to the URL.
  return { isTls, hostname: hostname.replace(/^\[(.*)\]$/, '$1'), port: port ?? (isTls ? 443 : 80) };
}

function pathOf({ path, query = {} }: SignedRequest): string {
  const pairs = Object.entries(query).flatMap(([name, values]) =>
    [values].flat().map((value) => (value === null ? escaped(name) : `${escaped(name)}=${escaped(value)}`)),
  );
  return pairs.length === 0 ? path : `${path}?${pairs.join('&')}`;
}

/** As it was signed: all but unreserved characters (RFC 3986, section 2.3). */
function escaped(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}
