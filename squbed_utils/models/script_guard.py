"""Run a command in a process group that ends with the process that started it.

It is a script of its own, with the command as its arguments and a pipe as its stdin: the pipe
closes when the process at the other end is gone.
"""

import os
import signal
import subprocess
import sys
import threading


def _end_with_the_pipe() -> None:
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=_end_with_the_pipe, daemon=True).start()
    code = subprocess.call(sys.argv[1:], stdin=subprocess.DEVNULL)
    os._exit(code if code >= 0 else 128 - code)  # as a shell says it
