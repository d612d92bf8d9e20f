'use strict';
/**
 * What PostgreSQL starts as archive_command and, when no prefetched file lies ready, as restore_command: asks the agent over its unix
 * socket and turns the answer into an exit code.
 *
 *   node wal-command.cjs push  SOCKET CLUSTER    %f %p [AGENT_WAIT_MS]
 *   node wal-command.cjs fetch SOCKET RESTORE_ID %f %p [AGENT_WAIT_MS]
 *
 * PostgreSQL waits for this process once a segment, so it is plain JavaScript that loads two modules of Node's own and nothing else.
 *
 * push: 0 only when the agent said that the file is durable in the archive, else 1. Not above 125: PostgreSQL takes that for a crash and
 * ends its archiver process (manual, section 26.3.1).
 * fetch: 0 only with the verified file in place, 100 only when it is proven absent, else 255. PostgreSQL reads any exit code from 1 to 125
 * as "not in the archive" and may end recovery there (section 26.3.4), and Node itself exits with 1 to 13 when a module is missing or
 * NODE_OPTIONS is wrong. So absence has a code that Node never uses, and the shell line of commands.ts turns 100 into 1 and all else that
 * is below 126 into 255.
 *
 * SIGTERM keeps its default action: PostgreSQL takes a restore_command killed by SIGTERM for its own orderly shutdown.
 */
const { connect } = require('node:net');
const nodePath = require('node:path');

const durableExitCode = 0;
const pushFailedExitCode = 1;
const absentExitCode = 100;
const undecidedExitCode = 255;

/** How long an agent that is being restarted is waited for. PostgreSQL repeats archive_command by itself, so push waits less. */
const agentWaitMsOf = { push: 10_000, fetch: 60_000 };
/** The agent retries within and answers by itself before this; it bounds the wait for one that hangs. */
const replyTimeoutMs = 15 * 60_000;
const reconnectPauseMs = 200;
/** How often an agent may vanish in the midst of one request before we give up. */
const lostConnectionsMaximum = 3;
const replyMaximumCharacters = 64 * 1024;

/** Errors of a socket after which the same request may be sent again: nobody listens, or who listened is gone. */
const transientCodes = new Set(['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'EAGAIN', 'NO_ANSWER']);

// Whatever way this process ends without a decision, it must not look like success or absence.
process.exitCode = process.argv[2] === 'push' ? pushFailedExitCode : undecidedExitCode;
void main(process.argv.slice(2));

/** @param {string[]} args */
async function main(args) {
  const [operation, socketPath, owner, name, path, agentWaitText] = args;
  try {
    if ((operation !== 'push' && operation !== 'fetch') || path === undefined) {
      throw new Error('usage: wal-command.cjs push|fetch SOCKET CLUSTER|RESTORE_ID %f %p [AGENT_WAIT_MS]');
    }
    const agentWaitMs = agentWaitText === undefined ? agentWaitMsOf[operation] : Number(agentWaitText);
    const reply = await ask(socketPath, requestLine(operation, { owner, name, path: nodePath.resolve(path) }), agentWaitMs);
    finish(operation, reply, name);
  } catch (error) {
    complain(`${operation} ${name}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/**
 * @param {'push' | 'fetch'} operation
 * @param {{ owner: string, name: string, path: string }} file
 */
function requestLine(operation, { owner, name, path }) {
  const request =
    operation === 'push' ? { op: 'push', cluster: owner, name, path } : { op: 'fetch', restoreId: owner, name, destination: path };
  return `${JSON.stringify(request)}\n`;
}

/**
 * @param {'push' | 'fetch'} operation
 * @param {string} line
 * @param {string} name
 */
function finish(operation, line, name) {
  const reply = JSON.parse(line);
  const wanted = operation === 'push' ? 'archived' : 'fetched';
  if (reply?.result === wanted) process.exitCode = durableExitCode;
  else if (operation === 'fetch' && reply?.result === 'absent') {
    process.exitCode = absentExitCode;
    complain(`fetch ${name}: not in the archive`);
  } else if (reply?.result === 'error') throw new Error(`${reply.message} (${reply.code}) ${reply.hint}`);
  else throw new Error(`the agent gave an answer that does not fit: ${line.slice(0, 200)}`);
}

/**
 * Sends the request until somebody answers, within bounds.
 * @param {string} socketPath
 * @param {string} line
 * @param {number} agentWaitMs
 * @returns {Promise<string>}
 */
async function ask(socketPath, line, agentWaitMs) {
  let deadline = performance.now() + agentWaitMs;
  let lostConnectionsCount = 0;
  for (;;) {
    try {
      return await exchange(socketPath, line);
    } catch (error) {
      if (!transientCodes.has(error.code)) throw error;
      if (error.wasConnected && ++lostConnectionsCount <= lostConnectionsMaximum) deadline = performance.now() + agentWaitMs;
      if (performance.now() >= deadline) {
        throw new Error(`no agent answers on ${socketPath} within ${agentWaitMs} ms: ${error.message}. Start \`walkback agent\`.`, {
          cause: error,
        });
      }
      await new Promise((done) => setTimeout(done, reconnectPauseMs));
    }
  }
}

/**
 * One request, one line of answer.
 * @param {string} socketPath
 * @param {string} line
 * @returns {Promise<string>}
 */
function exchange(socketPath, line) {
  return new Promise((done, fail) => {
    const socket = connect(socketPath);
    let wasConnected = false;
    let text = '';
    socket.setEncoding('utf8');
    socket.setTimeout(replyTimeoutMs, () => socket.destroy(new Error(`the agent gave no answer within ${replyTimeoutMs} ms`)));
    socket.on('connect', () => {
      wasConnected = true;
      socket.write(line);
    });
    socket.on('data', (chunk) => {
      text += chunk;
      if (text.length > replyMaximumCharacters) socket.destroy(new Error('the agent gave an answer that is too long'));
      const endOfLine = text.indexOf('\n');
      if (endOfLine < 0) return;
      done(text.slice(0, endOfLine));
      socket.destroy();
    });
    socket.on('error', (error) => fail(Object.assign(error, { wasConnected })));
    socket.on('close', () =>
      fail(Object.assign(new Error('the agent closed the connection without an answer'), { code: 'NO_ANSWER', wasConnected })),
    );
  });
}

/**
 * One line to standard error, which is the server's log.
 * @param {string} reason
 */
function complain(reason) {
  process.stderr.write(`walkback: ${reason.replaceAll(/\s*\n\s*/g, ' ')}\n`);
}
