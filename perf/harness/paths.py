# SPDX-License-Identifier: Apache-2.0
"""Where things are in the tree, and the commands that the parts run."""
import json
import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("TEAL_BUILD", os.path.join(ROOT, "build", "release"))
RESULTS = os.path.join(ROOT, "perf", "results")


class Failed(Exception):
    """A part that could not be measured: one line."""


class Skipped(Exception):
    """A part that cannot be measured here: why."""


def program(*parts):
    path = os.path.join(BUILD, *parts)
    if not os.access(path, os.X_OK):
        raise Failed(f"{path}: not built; ninja -C {BUILD} {os.path.join(*parts)}")
    return path


def run(*command, timeout=600, skip_code=None, **options):
    """Runs a command to its end -> its standard output."""
    words = [str(c) for c in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL,
                              check=False, **options)
    except FileNotFoundError as error:
        raise Skipped(f"{words[0]} is not installed; scripts/deps --perf") from error
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{' '.join(words)[:160]}: not finished after {timeout} s") from error
    if skip_code is not None and done.returncode == skip_code:
        raise Skipped((done.stderr or done.stdout).strip().splitlines()[-1])
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-400:]
        raise Failed(f"{' '.join(words)[:160]}: exit {done.returncode}: {said}")
    return done.stdout


def run_json(*command, **options):
    text = run(*command, **options)
    try:
        return json.loads(text)
    except ValueError as error:
        raise Failed(f"{command[0]}: found {text[:80]!r}, expected JSON") from error


def build(*targets):
    """Builds the release build's targets, by scripts/build.sh as the tests do."""
    script = f". scripts/build.sh; build_release {' '.join(targets)}"
    run("bash", "-c", script, cwd=ROOT, timeout=1800)
