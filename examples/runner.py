#!/usr/bin/env python3
"""A runner in Python: the primes up to a number. docs/runner-contract.md says how it gives its result."""

import fcntl
import hashlib
import json
import os
import struct
import sys
import termios
import time

FILE_MAX_BYTES = 4096
PART_MAX_BYTES = 6144


def main():
    try:
        primes = primes_up_to(read_input())
    except ValueError as error:
        give({"status": "error", "count": 0, "primes": [], "error": {"type": "INVALID_INPUT", "message": str(error)}})
        return 1
    # Whatever a program prints besides its result is no harm.
    print("found", len(primes), "primes")
    give({"status": "success", "count": len(primes), "primes": primes, "error": None})
    return 0


def read_input():
    with open(os.environ["LONGSHORE_INPUT"], encoding="utf-8") as file:
        limit = json.load(file)
    if type(limit) is not int or not 0 <= limit <= 1_000_000:
        raise ValueError("the input is no integer from 0 to 1000000")
    return limit


def primes_up_to(limit):
    composite = bytearray(limit + 1)
    for number in range(2, limit + 1):
        if not composite[number]:
            for multiple in range(number * number, limit + 1, number):
                composite[multiple] = 1
    return [number for number in range(2, limit + 1) if not composite[number]]


def give(result):
    """Gives the result: in the result file if it has room for it, else in marked parts on stdout."""
    # On one line and in ASCII, so that it may be cut anywhere; and never NaN, which JSON has not.
    text = json.dumps(result, separators=(",", ":"), allow_nan=False).encode("ascii")
    sys.stdout.flush()
    if len(text) <= FILE_MAX_BYTES:
        # In place, never by rename: in a container the file is a mount of its own.
        with open(os.environ["LONGSHORE_RESULT"], "wb") as file:
            file.write(text)
    else:
        marker = os.environ["LONGSHORE_RESULT_MARKER"].encode()
        parts = [text[at : at + PART_MAX_BYTES] for at in range(0, len(text), PART_MAX_BYTES)]
        out = sys.stdout.buffer
        for number, part in enumerate(parts, start=1):
            out.write(b"%s+%d %s\n" % (marker, number, part))
        out.write(b"%s=%d %s\n" % (marker, len(parts), hashlib.sha256(text).hexdigest().encode()))
        out.flush()
    drain(sys.stdout)


def drain(stream, limit=2.0):
    """Waits until what was printed is read: container runtimes lose what is still in the pipe when a program exits."""
    deadline = time.monotonic() + limit
    unread = struct.pack("i", 0)
    try:
        while struct.unpack("i", fcntl.ioctl(stream, termios.FIONREAD, unread))[0] and time.monotonic() < deadline:
            time.sleep(0.002)
    except OSError:
        return  # No pipe.
    # The runtime has read it, and needs a moment to pass it on.
    time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
