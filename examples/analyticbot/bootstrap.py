"""Makes `.venv` beside this file; `bootstrap.py requirements.txt` also installs what that file lists.

Does nothing when it is done already, finishes what an interrupted run began, and waits for one that is under way.
The workers use the standard library only, so without an argument nothing is downloaded.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

APPLICATION = Path(__file__).resolve().parent
VENV = APPLICATION / ".venv"
PYTHON = VENV / "bin" / "python"


class Builder(venv.EnvBuilder):
    """Puts the interpreter into place last: where it is, the environment is whole."""

    def setup_python(self, context):
        pass

    def post_setup(self, context):
        super().setup_python(context)


def make_environment():
    if not PYTHON.exists():
        Builder(clear=True, symlinks=True, with_pip=False).create(VENV)


def install(requirements):
    installed = VENV / requirements.name
    if installed.exists() and installed.read_bytes() == requirements.read_bytes():
        return
    installed.unlink(missing_ok=True)
    subprocess.run([PYTHON, "-m", "ensurepip", "--default-pip"], check=True, stdout=subprocess.DEVNULL)
    pip = [PYTHON, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
    subprocess.run([*pip, "--requirement", requirements], check=True)
    # A copy, put into place whole, says what is installed.
    unfinished = installed.with_suffix(".new")
    shutil.copyfile(requirements, unfinished)
    unfinished.replace(installed)


def main(arguments):
    if sys.version_info < (3, 9):
        return "bootstrap.py: needs Python 3.9 or newer, this is {}.{}".format(*sys.version_info)
    folder = os.open(APPLICATION, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        make_environment()
        for name in arguments:
            install(APPLICATION / name)
    except subprocess.CalledProcessError as error:
        step = "ensurepip (on Debian: apt install python3-venv)" if "ensurepip" in error.cmd else "pip install"
        return f"bootstrap.py: {step} failed with status {error.returncode}"
    except OSError as error:
        return f"bootstrap.py: {error}"
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
