/** What the machine's processors do with their time. */
import { readFileSync } from 'node:fs';

/** Of all processors together, since the system was started; only their ratio means something. */
interface ProcessorTime {
  readonly busy: number;
  readonly all: number;
}

/** Measures from its making on. */
export class ProcessorWatch {
  readonly #since: ProcessorTime | undefined = readProcessorTime();

  /** 0 when all had nothing to do, 1 when none had; 0 where the system does not tell. */
  busyShare(): number {
    const now = readProcessorTime();
    if (this.#since === undefined || now === undefined || now.all === this.#since.all) return 0;
    return (now.busy - this.#since.busy) / (now.all - this.#since.all);
  }
}

/** proc(5), /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal. Waiting for the disk is having nothing to do. */
function readProcessorTime(): ProcessorTime | undefined {
  const [first = ''] = statText().split('\n', 1);
  const [name, ...times] = first.split(/\s+/);
  if (name !== 'cpu') return undefined;
  const [user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0] = times.map(Number);
  const busy = user + nice + system + irq + softirq + steal;
  return { busy, all: busy + idle + iowait };
}

function statText(): string {
  try {
    return readFileSync('/proc/stat', 'utf8');
  } catch {
    return '';
  }
}
