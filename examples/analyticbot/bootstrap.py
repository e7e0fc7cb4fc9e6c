"""Makes `.venv` beside this file, with the worker library; `bootstrap.py requirements.txt` also installs what that file lists.

Does nothing when it is done already, finishes what an interrupted run began, and waits for one that is under way.
The library is the wheel that `DEVSTACK_WHEEL` names, or is built by cargo from the repository that this example lies in.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

APPLICATION = Path(__file__).resolve().parent
REPOSITORY = APPLICATION.parents[1]
VENV = APPLICATION / ".venv"
PYTHON = VENV / "bin" / "python"
SITE_PACKAGES = VENV / "lib" / "python{}.{}".format(*sys.version_info) / "site-packages"


class Builder(venv.EnvBuilder):
    """Puts the interpreter into place last: where it is, the environment is whole."""

    def setup_python(self, context):
        pass

    def post_setup(self, context):
        install_library()
        super().setup_python(context)


def make_environment():
    if not PYTHON.exists() or not (SITE_PACKAGES / "devstack").exists():
        Builder(clear=True, symlinks=True, with_pip=False).create(VENV)


def install_library():
    wheel = os.environ.get("DEVSTACK_WHEEL")
    if wheel:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(SITE_PACKAGES)
        return
    build = ["cargo", "build", "--quiet", "--release", "--locked", "--package", "devstack-python", "--message-format", "json"]
    messages = subprocess.run(build, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True).stdout
    built = [json.loads(line) for line in messages.splitlines()]
    [library] = [file for one in built if one.get("target", {}).get("name") == "_native" for file in one["filenames"]]
    package = shutil.copytree(REPOSITORY / "python" / "devstack", SITE_PACKAGES / "devstack", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(library, Path(package) / "_native.abi3.so")


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
        steps = {"ensurepip": "ensurepip (on Debian: apt install python3-venv)", "cargo": "the build of the worker library by cargo"}
        step = next((words for word, words in steps.items() if word in error.cmd), "pip install")
        return f"bootstrap.py: {step} failed with status {error.returncode}"
    except FileNotFoundError as error:
        if error.filename != "cargo":
            return f"bootstrap.py: {error}"
        return "bootstrap.py: cargo is not in PATH to build the worker library: see https://rustup.rs, or name a wheel in DEVSTACK_WHEEL"
    except OSError as error:
        return f"bootstrap.py: {error}"
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
