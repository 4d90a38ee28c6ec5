"""What every result says of the conditions that it was measured under."""

import json
import os
import platform
import subprocess
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def processor():
    """The name that the processor gives itself."""
    with open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def commit():
    """The commit that is checked out, with a mark when files differ from it."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def missing(parser, *files):
    """Ends the program with a usage error if one of the files is not there."""
    for file in files:
        if not file.is_file():
            parser.error(f"there is no file {file}")


def report(bench, threads, **settings):
    """The head of a result: what was measured, where and when, and what it was asked for."""
    return {
        "bench": bench,
        "date": date.today().isoformat(),
        "commit": commit(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        **settings,
        "load_before": os.getloadavg()[0],
    }


def keep(result, out):
    """Adds the load at the end, and writes the result to the file `out`, if there is one."""
    result["load_after"] = os.getloadavg()[0]
    if out:
        Path(out).write_text(json.dumps(result, indent=1) + "\n")


def summary(result):
    """The result as text, without the single runs."""
    return json.dumps({key: value for key, value in result.items() if key != "runs"}, indent=2)
