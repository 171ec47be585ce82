"""The command `deftrec` without its imports: one process has them, and forks for every call.

A page of the documentation calls the command dozens of times, and each call would spend seconds on the same imports.
"""

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

CLIENT = """#!{python} -S
import os, signal, socket, struct, sys
with socket.socket(socket.AF_UNIX) as line:
    line.connect({address!r})
    words = "\\0".join([os.getcwd(), *("%s=%s" % one for one in os.environ.items()), "", *sys.argv[1:]]).encode()
    socket.send_fds(line, [struct.pack("!I", len(words))], [0, 1, 2])
    line.sendall(words)
    child = struct.unpack("!i", line.recv(4, socket.MSG_WAITALL))[0]
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda number, frame: os.kill(child, number))
    code = line.recv(4, socket.MSG_WAITALL)
    sys.exit(struct.unpack("!i", code)[0] if code else 1)
"""


def serve(folder: Path) -> subprocess.Popen[bytes]:
    """Write the command into a folder and start the process behind it.

    It is a fresh one: a process of the tests may have threads, which must not be forked. It has one thread for its
    arithmetic, as OpenMP reads the number of them when it is loaded: what a caller's environment says comes too late.
    """
    address = folder / "deftrec.sock"
    script = folder / "deftrec"
    script.write_text(CLIENT.format(python=sys.executable, address=str(address)))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    server = subprocess.Popen([sys.executable, __file__, str(address)], env={**os.environ, "OMP_NUM_THREADS": "1"})
    while not address.exists():
        assert server.poll() is None, "it ended before it listened"
        time.sleep(0.05)
    return server


def _accept(listener: socket.socket) -> None:
    import torch  # noqa: F401
    import transformers  # noqa: F401

    import deftrec.cli
    import deftrec.recommender
    import deftrec.serving.app
    import deftrec.training.fit  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        line, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _answer(line)
        line.close()


def _answer(line: socket.socket) -> None:
    """Run one call in a process of its own, wait for it, and tell its exit code."""
    import struct

    size, files, _, _ = socket.recv_fds(line, 4, 3)
    words = line.recv(struct.unpack("!I", size)[0], socket.MSG_WAITALL).decode().split("\0")
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        for number, file in enumerate(files):
            os.dup2(file, number)
        os._exit(_run(words))
    line.sendall(struct.pack("!i", child))
    _, status = os.waitpid(child, 0)
    with suppress(OSError):
        line.sendall(struct.pack("!i", os.waitstatus_to_exitcode(status)))
    os._exit(0)


def _run(words: list[str]) -> int:
    """The command in this process, under the caller's folder, environment and streams."""
    end = words.index("", 1)
    os.chdir(words[0])
    os.environ.clear()
    os.environ.update(dict(one.split("=", 1) for one in words[1:end]))
    sys.argv = ["deftrec", *words[end + 1 :]]
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w", buffering=1), open(2, "w", buffering=1)  # noqa: SIM115
    from deftrec.cli import main

    try:
        code = main()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(sys.argv[1])
        listener.listen(64)
        _accept(listener)
