/** Remembers inside a restored directory that its roles are swapped. */
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileDurably } from '../files/durable-file.ts';
import { restoreDirectoryOf } from './restore-marker.ts';
import type { SwapRecord } from './roles.ts';

const recordFileName = 'roles-swapped';

/** The record of a directory. */
export function swapRecordOf(dataDirectory: string): SwapRecord {
  const path = join(restoreDirectoryOf(dataDirectory), recordFileName);
  return {
    async isDone() {
      try {
        await access(path);
        return true;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
        throw error;
      }
    },
    setDone: () => writeFileDurably(path, ''),
  };
}
