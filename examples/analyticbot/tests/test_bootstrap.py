import shutil
import subprocess
import sys

import pytest
from conftest import APPLICATION, PATIENCE_SECONDS


@pytest.fixture
def script(tmp_path):
    return shutil.copy(APPLICATION / "bootstrap.py", tmp_path)


def python_works(tmp_path):
    prefix = subprocess.check_output([tmp_path / ".venv/bin/python", "-c", "import sys; print(sys.prefix)"], text=True)
    library = subprocess.check_output([tmp_path / ".venv/bin/python", "-c", "import devstack; print(devstack.__file__)"], text=True)
    return prefix.strip() == str(tmp_path / ".venv") and library.startswith(str(tmp_path / ".venv"))


def test_two_at_once_make_one_environment(script, tmp_path):
    both = [subprocess.Popen([sys.executable, script]) for _ in range(2)]
    assert [process.wait(PATIENCE_SECONDS) for process in both] == [0, 0]
    assert python_works(tmp_path)


def test_a_finished_environment_is_left_alone(script, tmp_path):
    subprocess.check_call([sys.executable, script])
    witness = tmp_path / ".venv" / "witness"
    witness.touch()
    subprocess.check_call([sys.executable, script])
    assert witness.exists()


def test_an_unfinished_one_and_a_vanished_interpreter_are_made_again(script, tmp_path):
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to("/nonexistent/python")
    subprocess.check_call([sys.executable, script])
    assert python_works(tmp_path)
