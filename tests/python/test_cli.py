"""The command line, as a user calls it."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest

import telamon
from telamon.__main__ import main


def call(*arguments):
    return subprocess.run([sys.executable, "-m", "telamon", *arguments], capture_output=True, text=True, timeout=120)


def test_version():
    assert call("--version").stdout == f"telamon {telamon.__version__}\n"


def test_info_holds_what_a_bug_report_needs():
    done = call("info")
    assert (done.returncode, done.stderr) == (0, "")
    for word in (telamon.__version__, telamon.active_isa(), "threads", "GPU", "compiler", "numpy", "torch"):
        assert word in done.stdout


def test_info_for_machines():
    info = json.loads(call("info", "--json").stdout)
    assert info["telamon"] == telamon.__version__
    assert info["libraries"]["numpy"]
    assert "-O3" in info["build"]["flags"]


def test_info_imports_no_framework():
    code = "import sys; from telamon.__main__ import main; main(['info']); print('torch' in sys.modules, *sys.argv)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()[-1] == "False -c"


def test_cmakedir_and_includes(capsys):
    assert main(["--cmakedir"]) == 0
    assert (Path(capsys.readouterr().out.strip()) / "telamonConfig.cmake").exists()
    assert main(["--includes"]) == 0
    flag = capsys.readouterr().out.strip()
    assert flag.startswith("-I")
    assert (Path(flag[2:]) / "telamon" / "special.hpp").exists()


def test_no_command_shows_the_help(capsys):
    assert main([]) == 2
    assert "{info,demo,bench,quantize,eval,generate}" in capsys.readouterr().out


def test_unknown_command_is_refused(capsys):
    with pytest.raises(SystemExit) as error:
        main(["frobnicate"])
    assert error.value.code == 2
    assert "frobnicate" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["demo", "bench"])
def test_demo_and_bench_parse_their_own_arguments(command, monkeypatch):
    module = ModuleType(f"telamon._{command}")
    module.main = lambda argv: len(argv)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert main([command, "--json", "somewhere", "-h"]) == 3
    module.main = lambda argv: None
    assert main([command]) == 0


def test_console_script_is_installed():
    script = Path(sysconfig.get_path("scripts")) / ("telamon.exe" if os.name == "nt" else "telamon")
    if not script.exists():
        pytest.skip("telamon is not installed in this environment's own prefix")
    assert subprocess.check_output([script, "--version"], text=True) == f"telamon {telamon.__version__}\n"
