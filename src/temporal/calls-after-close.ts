/**
 * gRPC calls of a connection that was closed. The SDK tries a call again from a timer (grpc-retry.js of @temporalio/client); grpc-js throws when the channel has been
 * shut down meanwhile, and an error that is thrown in a timer ends the process of whoever uses the client.
 */
import type { ConnectionOptions } from '@temporalio/client';
import { messageOf } from '../domain/errors.ts';

type Interceptor = NonNullable<ConnectionOptions['interceptors']>[number];
type Call = ReturnType<Interceptor>;

/** gRPC's status CANCELLED, after which nobody tries again. */
const cancelledCode = 1;

/** Ends a call that cannot be made as one that the server refused. Belongs behind what tries again. */
export const endCallsAfterClose: Interceptor = (options, nextCall) => {
  try {
    return nextCall(options) as Call;
  } catch (error) {
    // The word by which clientError tells that Temporal cannot be reached.
    return endedCall(`UNAVAILABLE: the call could not be made (${messageOf(error)})`);
  }
};

/** What grpc-js uses of a call. Its class cannot be made without a call to wrap. */
function endedCall(details: string): Call {
  const start: Call['start'] = (metadata, listener) => {
    // Whoever made the call goes on to send its message first.
    queueMicrotask(() => {
      listener?.onReceiveMessage?.(null);
      listener?.onReceiveStatus?.({ code: cancelledCode, details, metadata });
    });
  };
  const nothing = (): void => undefined;
  const call = { start, sendMessage: nothing, sendMessageWithContext: nothing, startRead: nothing, halfClose: nothing };
  return { ...call, cancelWithStatus: nothing, getPeer: () => 'closed', getAuthContext: () => null } as unknown as Call;
}
