#!/usr/bin/env python3
"""What runs cost that nothing happens to: live ones in CPU time, finished ones at a start and in memory.

    idle.py LONGSHORE DIRECTORY [LIVE] [FINISHED]

A daemon with the local backend in a new state directory below DIRECTORY, without a sandbox. LIVE runs sleep,
without and then with a result rule; FINISHED ones are copies of one that has ended. Prints figures, and judges none.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid

TICKS = os.sysconf("SC_CLK_TCK")
WINDOW = 20

CONFIG = """
[local]
bwrap = "off"
max_concurrent_runs = 100000

[limits]
max_live_runs_per_caller = 100000

[profiles.sleep.local]
command = ["sleep", "3600"]

[profiles.sleep-result]
[profiles.sleep-result.local]
command = ["sleep", "3600"]
[profiles.sleep-result.defaults]
result = "optional"

[profiles.end.local]
command = ["true"]
"""


def stat(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def cpu(pids):
    """Seconds of processor time of these processes so far."""
    total = 0
    for pid in pids:
        try:
            fields = stat(pid)
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def memory(pid, field="Rss"):
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    return 0


def end(pids):
    """Kills shims with their programs."""
    for pid in pids:
        try:
            children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            children = []
        for process in [pid, *map(int, children)]:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass


class Daemon:
    def __init__(self, longshore, directory):
        self.longshore, self.directory = longshore, directory
        (directory / "config.toml").write_text(CONFIG)

    def start(self):
        """Seconds until every run is known."""
        began = time.monotonic()
        # A file, since a pipe that nobody reads blocks what writes to it.
        log = self.directory / "log"
        with log.open("w") as stderr:
            self.process = subprocess.Popen(
                [self.longshore, "serve", "--backend", "local", "--listen", "127.0.0.1:0", "--admin-listen", "off",
                 "--log-format", "text", "--config", self.directory / "config.toml", "--state-dir",
                 self.directory / "state"],
                stderr=stderr)
        while True:
            text = log.read_text()
            address = re.search(r"127\.0\.0\.1:[1-9]\d*", text)
            if address and "adopted" in text:
                self.address = address.group(0)
                return time.monotonic() - began
            if self.process.poll() is not None:
                sys.exit("idle: the daemon ended\n" + text)
            time.sleep(0.01)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def client(self, *words):
        command = [self.longshore, *words, "--server", self.address]
        # What it says of a failure stays visible.
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()

    def shims(self):
        """The shims of this state directory."""
        marker = str(self.directory / "state").encode()
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if b"shim" in words and any(word.startswith(marker) for word in words):
                    found.append(int(entry.name))
        return found


def live(daemon, profile, count):
    before = memory(daemon.process.pid)
    for _ in range(count):
        daemon.client("run", "--runner", profile, "--detach")
    deadline = time.monotonic() + 120
    # Let everything that begins come to rest.
    while len(daemon.shims()) < count and time.monotonic() < deadline:
        time.sleep(1)
    time.sleep(5)
    shims = daemon.shims()
    used = cpu([daemon.process.pid]), cpu(shims)
    time.sleep(WINDOW)
    now = cpu([daemon.process.pid]), cpu(shims)
    own, theirs = [(after - first) / WINDOW * 100 for after, first in zip(now, used)]
    grown = (memory(daemon.process.pid) - before) / count
    private = sum(memory(pid, "Private_Dirty") for pid in shims[:50]) / max(1, len(shims[:50]))
    print(f"{count} live runs of {profile}: daemon {own:.2f} %, shims {theirs:.2f} % of a core; "
          f"{grown:.0f} kB of the daemon and {private:.0f} kB of a shim each")
    end(shims)
    deadline = time.monotonic() + 120
    while daemon.shims() and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(10)


def copies(daemon, count):
    """Copies of one run that has ended."""
    name = daemon.client("run", "--runner", "end", "--detach")
    run = name.rsplit("/", 1)[-1]
    source = daemon.directory / "state" / "default" / run
    deadline = time.monotonic() + 60
    while not (source / "released").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(2)
    daemon.stop()
    spec = json.loads((source / "spec").read_text())
    uid = spec["uid"]
    for number in range(count):
        target = source.parent / f"copy-{number}"
        shutil.copytree(source, target)
        for file in ["spec", "record", "summary"]:
            if (target / file).exists():
                text = (target / file).read_text().replace(uid, str(uuid.uuid4()))
                # Its name, and the path of its directory.
                (target / file).write_text(text.replace(run, target.name))


def main():
    longshore, below = os.path.abspath(sys.argv[1]), pathlib.Path(sys.argv[2]).absolute()
    count, finished = [int(word) for word in (sys.argv[3:] + ["1000", "10000"][len(sys.argv) - 3:])[:2]]
    below.mkdir(parents=True, exist_ok=True)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="idle-", dir=below))
    daemon = Daemon(longshore, directory)
    try:
        print(f"no run: ready after {daemon.start() * 1000:.0f} ms, {memory(daemon.process.pid)} kB")
        for profile in ["sleep", "sleep-result"]:
            live(daemon, profile, count)
        copies(daemon, finished)
        for what in ["first", "next"]:
            seconds = daemon.start()
            used = cpu([daemon.process.pid])
            time.sleep(2)
            print(f"{finished} finished runs, {what} start: ready after {seconds * 1000:.0f} ms "
                  f"({used * 1000:.0f} ms of processor time), {memory(daemon.process.pid)} kB")
            if what == "next":
                began = time.monotonic()
                daemon.client("ls", "--limit", "50")
                print(f"the first 50 of them listed in {(time.monotonic() - began) * 1000:.0f} ms, the client included")
                used = cpu([daemon.process.pid])
                time.sleep(WINDOW)
                print(f"idle then: {(cpu([daemon.process.pid]) - used) / WINDOW * 100:.2f} % of a core")
            daemon.stop()
    finally:
        end(daemon.shims())
        daemon.process.kill()
        daemon.process.wait()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
