"""Collections as a command of their own, and what they leave."""

import hashlib
import os
import signal
import subprocess
import sys
import time


def contents(folder):
    """Hash what a run gives; its log and its claims are no part of it."""
    files = (p for p in sorted(folder.rglob("*")) if p.is_file())
    files = [p for p in files if p.relative_to(folder).parts[0] not in ("runs", ".claims")]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def command(profile, folder, *more):
    line = [sys.executable, "-m", "squbed_utils.cli", "collect", "--profile", str(profile)]
    return [*line, "--output", str(folder), *more]


def wait_for(condition, process, seconds=400):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the collection ended too early"
        assert time.monotonic() < end, "the collection did not get that far"
        time.sleep(0.02)


def interrupt(profile, folder, sent, *more, after=2):
    """Start a collection in a process group of its own and end it after some shards.

    Its workers share its stderr, which ends when the last of them does.
    """
    line = command(profile, folder, *more)
    with subprocess.Popen(
        line, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            wait_for(lambda: len(list(folder.glob("shards/*/*.parquet"))) >= after, process)
            sent(process)
            _, errors = process.communicate(timeout=60)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process, errors
