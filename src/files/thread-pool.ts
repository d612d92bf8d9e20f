/** The threads of libuv, most of whose work is to wait for the disk. What runs as a program imports this first: they are counted when the first one is needed. */

/** So many files are synced at a time: the disk takes as many, and a file system with a journal commits those that wait together at once. */
export const threadPoolSize = 16;

process.env['UV_THREADPOOL_SIZE'] ??= String(threadPoolSize);
