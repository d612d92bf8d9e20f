"""Runs shell lines one after the other, as PostgreSQL's system() does: by posix_spawn from a small process, so that what is measured is the call.

Reads a JSON document a line, {"command": ..., "cwd": ...}; answers each with {"seconds": ..., "code": ...}, where code is null after a signal.
"""

import json
import os
import sys
import time

for line in sys.stdin:
    call = json.loads(line)
    os.chdir(call["cwd"])
    silent = os.open(os.devnull, os.O_RDWR)
    files = [(os.POSIX_SPAWN_DUP2, silent, fd) for fd in (0, 1, 2)]
    started = time.perf_counter()
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", call["command"]], os.environ, file_actions=files)
    _, status = os.waitpid(pid, 0)
    seconds = time.perf_counter() - started
    os.close(silent)
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
    print(json.dumps({"seconds": seconds, "code": code}), flush=True)
