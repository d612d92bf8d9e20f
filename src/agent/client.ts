/** Asks the agent of this host over its socket. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { isErrorCode, messageOf, WalkbackError } from '../domain/errors.ts';
import {
  type AgentReply,
  type AgentRequest,
  type AgentStatus,
  type DirectDecision,
  type DirectRestoreState,
  type PushRequest,
  replyMaximumBytes,
  replySchema,
} from './protocol.ts';

/** Longer than the agent itself tries to push. */
const replyTimeoutMs = 120_000;

/** Where the agent stands. @throws WalkbackError AGENT_UNREACHABLE */
export async function agentStatus(socketPath: string, options: { readonly signal?: AbortSignal } = {}): Promise<AgentStatus> {
  const reply = await ask(socketPath, { op: 'status' }, options);
  if (reply.result !== 'status') throw unexpected(socketPath, reply);
  return reply.status;
}

/** Has the agent archive a file of a cluster's pg_wal; durable when it resolves. @throws WalkbackError AGENT_UNREACHABLE, or what the agent says */
export async function pushFile(socketPath: string, file: PushRequest, options: { readonly signal?: AbortSignal } = {}): Promise<void> {
  const reply = await ask(socketPath, { op: 'push', ...file }, options);
  if (reply.result !== 'archived') throw unexpected(socketPath, reply);
}

/** Begins a restore without Temporal or goes on with it, and tells how far it is. @throws WalkbackError AGENT_UNREACHABLE, or what speaks against it */
export async function followDirectRestore(
  socketPath: string,
  restore: { readonly asker: string; readonly request: Record<string, unknown> },
): Promise<DirectRestoreState> {
  const reply = await ask(socketPath, { op: 'restore', ...restore }, {});
  if (reply.result !== 'restore') throw unexpected(socketPath, reply);
  return reply.restore;
}

/** How far such a restore is. @throws WalkbackError AGENT_UNREACHABLE, NOT_FOUND */
export async function directRestoreState(socketPath: string, restoreId: string): Promise<DirectRestoreState> {
  const reply = await ask(socketPath, { op: 'restore-state', restoreId }, {});
  if (reply.result !== 'restore') throw unexpected(socketPath, reply);
  return reply.restore;
}

/** Decides for such a restore. @throws WalkbackError AGENT_UNREACHABLE, NOT_FOUND, NOT_PAUSED, INVALID_REQUEST */
export async function decideDirectRestore(socketPath: string, decision: DirectDecision): Promise<void> {
  await ask(socketPath, { op: 'decide', ...decision }, {});
}

/** What such a restore would do. @throws WalkbackError AGENT_UNREACHABLE, INVALID_REQUEST */
export async function planDirectRestore(socketPath: string, request: Record<string, unknown>): Promise<Record<string, unknown>> {
  const reply = await ask(socketPath, { op: 'plan', request }, {});
  if (reply.result !== 'plan') throw unexpected(socketPath, reply);
  return reply.plan;
}

/** Has such a restore end; following it tells when it has. @throws WalkbackError AGENT_UNREACHABLE, NOT_FOUND */
export async function cancelDirectRestore(socketPath: string, restoreId: string): Promise<void> {
  await ask(socketPath, { op: 'cancel-restore', restoreId }, {});
}

async function ask(socketPath: string, request: AgentRequest, options: { readonly signal?: AbortSignal }): Promise<AgentReply> {
  const reply = await exchange(socketPath, request, options).catch((error: unknown) => {
    throw new WalkbackError('AGENT_UNREACHABLE', `The agent does not answer on ${socketPath}: ${messageOf(error)}`, { cause: error });
  });
  if (reply.result === 'error') throw new WalkbackError(reply.code, reply.message, { hint: reply.hint });
  return reply;
}

async function exchange(socketPath: string, request: AgentRequest, options: { readonly signal?: AbortSignal }): Promise<AgentReply> {
  const timeout = AbortSignal.timeout(replyTimeoutMs);
  const signal = options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal]);
  const socket = connect({ path: socketPath, signal });
  try {
    await once(socket, 'connect');
    socket.write(`${JSON.stringify(request)}\n`);
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      sizeBytes += chunk.length;
      if (sizeBytes > replyMaximumBytes) throw new RangeError(`the answer is longer than ${replyMaximumBytes} bytes`);
    }
    return parseReply(Buffer.concat(chunks).toString('utf8'));
  } finally {
    socket.destroy();
  }
}

function parseReply(text: string): AgentReply {
  const reply = replySchema.parse(JSON.parse(text));
  if (reply.result !== 'error') return reply;
  return { ...reply, code: isErrorCode(reply.code) ? reply.code : 'INTERNAL' };
}

function unexpected(socketPath: string, reply: AgentReply): WalkbackError {
  return new WalkbackError('INTERNAL', `The agent on ${socketPath} gave an answer that does not fit the request: ${reply.result}`);
}
