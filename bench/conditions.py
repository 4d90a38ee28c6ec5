"""What every result says of the conditions that it was measured under."""

import platform
import subprocess


def processor():
    """The name that the processor gives itself."""
    with open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def commit(root):
    """The commit that is checked out, with a mark when files differ from it."""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def missing(parser, *files):
    """Ends the program with a usage error if one of the files is not there."""
    for file in files:
        if not file.is_file():
            parser.error(f"there is no file {file}")
