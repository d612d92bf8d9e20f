/** The log of a long-running process: one line of JSON an entry on stderr, or plain lines for people. Secrets never reach it: nothing that holds one is logged. */
import { pino, type Logger } from 'pino';
import { DefaultLogger, Runtime } from '@temporalio/worker';
import type { Configuration } from '../config/configuration.ts';

/** Facts first, then a sentence. */
export type ProcessLog = Pick<Logger, 'debug' | 'info' | 'warn' | 'error'>;

const stderrDescriptor = 2;

/** Opens the log, and makes Temporal's SDK write to it too. */
export function openProcessLog(logging: Configuration['logging'], name: string): ProcessLog {
  const destination = pino.destination({ fd: stderrDescriptor, sync: true });
  const log = pino(
    { name, level: logging.level, timestamp: pino.stdTimeFunctions.isoTime, ...(logging.format === 'pretty' ? prettyOptions : {}) },
    logging.format === 'pretty' ? plainLines() : destination,
  );
  const logger = new DefaultLogger('INFO', ({ level, message, meta }) => {
    const facts = { ...meta };
    if (level === 'ERROR') log.error(facts, message);
    else if (level === 'WARN') log.warn(facts, message);
    else log.debug(facts, message);
  });
  Runtime.install({ logger, shutdownSignals: [] });
  return log;
}

const prettyOptions = { base: undefined };

/** `12:00:01 WARN  message {"fact":1}` */
function plainLines(): { write(line: string): void } {
  const names: Readonly<Record<number, string>> = { 20: 'DEBUG', 30: 'INFO ', 40: 'WARN ', 50: 'ERROR' };
  return {
    write: (line) => {
      const { level, time, msg, ...facts } = JSON.parse(line) as { level: number; time: string; msg: string };
      process.stderr.write(
        `${time.slice(11, 19)} ${names[level] ?? level} ${msg}${Object.keys(facts).length === 0 ? '' : ` ${JSON.stringify(facts)}`}\n`,
      );
    },
  };
}
