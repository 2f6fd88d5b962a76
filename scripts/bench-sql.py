#!/usr/bin/env python3
"""CPU time of the SQL runner beside DuckDB's command line, for the same questions over the same files.

    bench-sql.py LONGSHORE DIR

Files are made below DIR, once. Rounds are interleaved; CPU is user and system time of the child, the best of the
rounds, since whatever else the machine does only adds to it. Without DuckDB it says so and ends well.
"""

import json
import os
import pathlib
import random
import resource
import shutil
import subprocess
import sys

ROUNDS = 5
FILES = [("9 MB", 230_000), ("39 MB", 1_000_000), ("200 MB", 5_150_000)]
QUESTIONS = [
    ("count", "select count(*) from t"),
    ("group by text", "select status, count(*), round(sum(amount), 2) from t group by status order by 1"),
    ("filter", "select count(*), avg(quantity) from t where amount > 500 and ordered < '2025-07-01'"),
    ("all columns", "select * from t order by amount desc, id limit 5"),
]


def make(path, rows):
    numbers = random.Random(7)
    states = ["new", "paid", "sent", "done", "void"]
    with open(path, "w", encoding="utf-8") as file:
        file.write("id,customer,status,quantity,amount,ordered\n")
        for row in range(rows):
            day = f"2025-{numbers.randrange(1, 13):02}-{numbers.randrange(1, 29):02}"
            amount = f"{numbers.randrange(100, 99_999) / 100:.2f}"
            file.write(f"{row},c{numbers.randrange(9000)},{states[numbers.randrange(5)]},"
                       f"{numbers.randrange(1, 20)},{amount},{day}\n")


def cpu(command, env=None):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        return None, done.stdout[-300:] + done.stderr[-300:]
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, None


def duckdb():
    """The command: on PATH, or of the package duckdb-cli beside this Python."""
    beside = pathlib.Path(sys.executable).parent / "duckdb"
    return shutil.which("duckdb") or (str(beside) if beside.exists() else None)


def main():
    longshore, directory = os.path.abspath(sys.argv[1]), pathlib.Path(sys.argv[2])
    peer = duckdb()
    if peer is None:
        print("bench-sql: skipped, there is no duckdb: pip install duckdb-cli, or put it on PATH")
        return
    directory.mkdir(parents=True, exist_ok=True)
    print(f"{subprocess.run([peer, '--version'], capture_output=True, text=True, check=True).stdout.strip()}\n")
    print("| file | question | SQL runner, CPU s | DuckDB, CPU s | ratio |\n| --- | --- | --- | --- | --- |")
    for name, rows in FILES:
        path = directory / f"{rows}.csv"
        if not path.exists():
            make(path, rows)
        for title, sql in QUESTIONS:
            request = {"files": [{"path": path.name, "name": "t"}], "sql": sql, "timeout_seconds": 60}
            env = {"LONGSHORE_FILES": str(directory), "LONGSHORE_INPUT_JSON": json.dumps(request)}
            theirs = f"create view t as select * from read_csv('{path}'); {sql}"
            own, other, failed = [], [], None
            for _ in range(ROUNDS):
                seconds, failed = cpu([longshore, "runner", "sql"], env)
                if failed:
                    break
                own.append(seconds)
                seconds, failed = cpu([peer, "-c", theirs])
                if failed:
                    break
                other.append(seconds)
            if failed:
                print(f"| {name} | {title} | failed: {failed.strip()} | | |")
                continue
            print(f"| {name} | {title} | {min(own):.2f} | {min(other):.2f} | {min(own) / min(other):.1f} |", flush=True)


if __name__ == "__main__":
    main()
