/** Watches every request of a site's S3 server, and makes the troubles that a test wants at the moment. */
import type { Fault, FaultInjector } from '../../../src/demo/s3-server/faults.ts';
import type { S3Server } from '../../../src/demo/s3-server/s3-server.ts';

/** One request that came. */
export interface SeenRequest {
  readonly operation: string;
  readonly key: string;
}

/** Holds requests back until it is opened. */
export interface Gate {
  readonly until: Promise<void>;
  /** Requests that came to the gate, whether it is open or not. */
  readonly arrived: readonly string[];
  open(): void;
}

/** The requests and troubles of one store. */
export class StoreTroubles implements Disposable {
  readonly seen: SeenRequest[] = [];
  #trouble: FaultInjector | undefined;
  readonly #server: S3Server;

  constructor(server: S3Server) {
    this.#server = server;
    server.faults = (request) => {
      this.seen.push({ operation: request.operation, key: request.key });
      return this.#trouble?.(request);
    };
  }

  /** From now on; replaces the trouble before. */
  make(trouble: FaultInjector): void {
    this.#trouble = trouble;
  }

  /** The store is healthy again. */
  end(): void {
    this.#trouble = undefined;
  }

  /** Every request of that operation on a key that holds the text meets the fault. */
  fail(operation: string, keyPart: string, fault: Fault): void {
    this.make((request) => (request.operation === operation && request.key.includes(keyPart) ? fault : undefined));
  }

  /** Requests of that operation on a key that holds the text wait, until the gate is opened. */
  hold(operation: string, keyPart: string, kind: 'hold-request' | 'hold-answer' = 'hold-request'): Gate {
    const { promise: until, resolve: open } = Promise.withResolvers<void>();
    const arrived: string[] = [];
    this.make((request) => {
      if (request.operation !== operation || !request.key.includes(keyPart)) return undefined;
      arrived.push(request.key);
      return { kind, until };
    });
    return { until, arrived, open };
  }

  /** How often a request of that operation came, by key. */
  countByKey(operation: string, keyPart: string): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (const request of this.seen) {
      if (request.operation === operation && request.key.includes(keyPart)) counts.set(request.key, (counts.get(request.key) ?? 0) + 1);
    }
    return counts;
  }

  [Symbol.dispose](): void {
    this.#server.faults = undefined;
  }
}
