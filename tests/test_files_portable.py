"""The package can be imported where there is no POSIX: every module of it, without what Windows lacks."""

import subprocess
import sys

WITHOUT_POSIX = """
import importlib, pkgutil, sys

for name in ("fcntl", "termios", "resource", "pwd", "grp"):
    sys.modules[name] = None
import deftrec

for module in pkgutil.walk_packages(deftrec.__path__, "deftrec."):
    # The SDK of MCP asks for the platform, not for the module.
    if not module.name.endswith("__main__") and not module.name.startswith("deftrec.serving.mcp"):
        importlib.import_module(module.name)
        print(module.name)
"""


def test_every_module_is_imported_without_what_windows_lacks() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_POSIX], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {"deftrec.files", "deftrec.run", "deftrec.cli.doctor"} <= set(done.stdout.split())
