"""`python -m tests.gpu.check --out DIR`: everything that is checked on a GPU, in one report.

Nothing is downloaded: torch, triton and the build tools are those of the interpreter that runs
this. It begins with a look at every kind of update, and ends there if a value is wrong. The package
is built into an environment of its own beside it. Each step writes its output to
a file in the folder of the report and has its share of the time; `report.md` says how all went.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
MINUTES = 8
# Nothing else is worth its time where one of these fails.
FIRST = ("first look", "build")
# Seconds without which a step does not start.
SHORTEST = 1.0
TESTED = "tests/gpu"
# Of the calls, one for each way to add up; the sanitizer slows a kernel down tenfold and more.
SANITIZED = (
    "test_results_equal_the_cpu and (labels or weighted0 or [keep or [hinge or [curve or [ranking"
    " or 100000 or [score_image or apart)"
)

# What must be there, and what it is for.
NEEDED = {
    "torch": "2.10 or newer, with CUDA",
    "triton": "the GPU kernels",
    "pytest": "the tests",
    "cmake": "the build",
    "ninja": "the build",
    "pybind11": "the build",
    "scikit_build_core": "the build",
}
# What may be missing, and what then is.
USEFUL = {"xdist": "several test processes", "rich": "the benchmarks"}


@dataclass
class Step:
    """One command of the check, and how it went."""

    name: str
    command: list[str]
    seconds: float
    """Most that it may take."""
    environment: dict[str, str] = field(default_factory=dict)
    required: bool = True
    outcome: str = "not run"
    took: float = 0.0


def is_there(module: str) -> bool:
    """Whether a module, or for build tools a program, can be found."""
    return importlib.util.find_spec(module) is not None or shutil.which(module) is not None


def missing() -> list[str]:
    """Return what keeps the check from starting, in words."""
    found = [f"{name} ({use}) is missing" for name, use in NEEDED.items() if not is_there(name)]
    if shutil.which(os.environ.get("CXX", "c++")) is None:
        found.append("a C++ compiler (the build) is missing")
    if is_there("torch"):
        import torch

        if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 10):
            found.append(f"torch is {torch.__version__}, and 2.10 is the oldest that will do")
        if not torch.cuda.is_available():
            found.append("torch sees no GPU")
    return found


def versions() -> dict[str, str]:
    """Return what the figures were measured with."""
    import torch

    told = {"python": sys.version.split()[0], "torch": torch.__version__}
    for name in ("triton", "pytest", "pytest-xdist", "cmake", "ninja", "pybind11"):
        try:
            told[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            told[name] = shutil.which(name) or "none"
    if torch.cuda.is_available():
        device = torch.cuda.get_device_properties(0)
        told["gpu"] = f"{device.name}, {device.total_memory / 2**30:.0f} GiB"
        told["cuda"] = str(torch.version.cuda or torch.version.hip)
    return told


def make_environment(folder: Path) -> Path:
    """Make an environment that sees the packages of this interpreter; return its Python."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    command = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    # Folders alone: what is installed editable there stays there.
    outer = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    Path(packages, "outer.pth").write_text("\n".join(outer) + "\n")
    return python


def find_sanitizer() -> str | None:
    """Return the path of compute-sanitizer, which CUDA does not always put in the search path."""
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    return shutil.which("compute-sanitizer", path=f"{os.environ['PATH']}:{home}/bin")


def steps(python: Path, out: Path) -> list[Step]:
    """Return what is done, in order; the last one takes what time the others leave."""
    run = [str(python), "-m"]
    figures = ["--out", str(out / "benchmarks")]
    processes = ["-n", "6"] if is_there("xdist") else []
    cuda = {"FASTMETRICS_REQUIRE_CUDA": "1", "FASTMETRICS_REQUIRE_NATIVE": "1"}
    tests = [*run, "pytest", "-p", "no:cacheprovider", "-ra"]
    install = ["pip", "install", "--no-build-isolation", "--no-deps", "--editable", "."]
    planned = [
        Step("first look", [*run, "tests.gpu.first_look"], 110),
        Step("build", [*run, *install, "--config-settings=build-dir=build/gpu/cmake"], 120),
        Step("tests", [*tests, TESTED, *processes], 150, cuda),
        Step("benchmarks", [*run, "benchmarks", "--device", "cuda", "--quick", *figures], 90),
    ]
    sanitizer = find_sanitizer()
    if sanitizer:
        # Without torch's cache each tensor is an allocation of its own, whose ends are known.
        apart = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
        command = [sanitizer, "--tool", "memcheck", "--error-exitcode", "9", "--target-processes"]
        command += ["all", *tests, f"{TESTED}/test_cuda.py", "-k", SANITIZED]
        planned.append(Step("sanitizer", command, 120, cuda | apart, required=False))
    parity = {"FASTMETRICS_TRITON_DEVICE": "cuda", "FASTMETRICS_BACKEND": "reference"}
    command = [*tests, "tests/ops/triton_parity.py", *processes]
    planned.append(Step("parity", command, 400, parity, required=False))
    return planned


def run_step(step: Step, out: Path, deadline: float) -> None:
    """Run one command, its output into a file, and note how it went."""
    left = min(step.seconds, deadline - time.monotonic())
    if left < SHORTEST:
        step.outcome = "no time left"
        return
    begin = time.monotonic()
    with (out / f"{step.name}.log").open("w") as log:
        log.write(" ".join(step.command) + "\n\n")
        log.flush()
        running = subprocess.Popen(
            step.command,
            cwd=ROOT,
            env=os.environ | step.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = running.wait(timeout=left)
            step.outcome = "passed" if code == 0 else f"failed ({code})"
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)  # with all that it started
            running.wait()
            step.outcome = f"stopped after {left:.0f} s"
    step.took = time.monotonic() - begin


def last_line(path: Path) -> str:
    """Return the last line of a log that says something."""
    lines = [line.strip("= ") for line in path.read_text(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "") if lines else ""


def write_report(out: Path, told: dict[str, str], done: list[Step]) -> None:
    """Write `report.md` for people and `report.json` for programs."""
    lines = ["# GPU check", "", *(f"* {name}: {version}" for name, version in told.items()), ""]
    lines += ["| step | outcome | seconds | last line |", "|---|---|---|---|"]
    for step in done:
        log = out / f"{step.name}.log"
        text = last_line(log).replace("|", "\\|")[:120] if log.exists() else ""
        lines.append(f"| {step.name} | {step.outcome} | {step.took:.0f} | {text} |")
    (out / "report.md").write_text("\n".join(lines) + "\n")
    summary = {"versions": told, "steps": [asdict(step) for step in done]}
    (out / "report.json").write_text(json.dumps(summary, indent=2) + "\n")


def main() -> int:
    """Run the check; 0 if all that is required passed, 2 if it could not start."""
    parser = argparse.ArgumentParser("python -m tests.gpu.check", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "gpu-check", metavar="DIR")
    out = parser.parse_args().out.resolve()
    obstacles = missing()
    if obstacles:
        print("The GPU check cannot start:", *obstacles, sep="\n  ", file=sys.stderr)
        return 2
    for name, use in USEFUL.items():
        if not is_there(name):
            print(f"{name} is missing: no {use}.")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    deadline = time.monotonic() + 60 * MINUTES - 10
    told = versions()
    done = steps(make_environment(ROOT / "build" / "gpu" / "venv"), out)
    for step in done:
        print(f"{step.name} ...", end=" ", flush=True)
        run_step(step, out, deadline)
        print(f"{step.outcome}, {step.took:.0f} s", flush=True)
        write_report(out, told, done)
        if step.name in FIRST and step.outcome != "passed":
            break
    print(f"The report is {out / 'report.md'}")
    return int(any(step.required and step.outcome != "passed" for step in done))


if __name__ == "__main__":
    sys.exit(main())
