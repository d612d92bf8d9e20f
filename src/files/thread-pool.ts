/** The threads of libuv, most of whose work is to wait for the disk. What runs as a program imports this first: they are counted when the first one is needed. */

/** So many files are synced at a time. With libuv's default of four, every four files take a commit of the file system's journal of their own. */
export const threadPoolSize = 16;

process.env['UV_THREADPOOL_SIZE'] ??= String(threadPoolSize);
