#!/usr/bin/python3
"""tests/e2e/bank.py - money moves between accounts by kv.txn; none comes or goes.

    bank.py SECONDS PORT[,PORT...]    prints "moved=N refused=N unknown=N"; 1 when the sum is wrong

Each account is a key with the tag {bank}. A transfer reads two of them in one transaction,
and in a second one, if neither revision has changed, writes both and counts itself. A
reader sums all accounts up in one transaction all the time.
"""
import random
import sys
import threading
import time

import rpc

ACCOUNTS, EACH, WRITERS = 8, 100, 6


def key(i):
    return b"{bank}%d" % i


class Bank:
    def __init__(self, ports, seconds):
        self.ports = ports
        self.end = time.monotonic() + seconds
        self.moved = self.refused = self.unknown = self.reads = 0
        self.lock = threading.Lock()
        self.wrong = []

    def run(self, work, seed):
        """Calls work(conn, random) until the time is over; a lost node is left."""
        chance, conn = random.Random(seed), None
        while time.monotonic() < self.end and not self.wrong:
            try:
                conn = conn or rpc.Conn(chance.choice(self.ports), timeout=1.5)
                work(conn, chance)
            except rpc.RpcError as e:
                if e.code not in ("UNKNOWN", "NO_LEADER", "TIMEOUT", "BUSY", "NOT_LEADER"):
                    self.wrong.append(str(e))
                with self.lock:
                    self.unknown += e.code == "UNKNOWN"
                time.sleep(0.02)
            except (OSError, EOFError):
                with self.lock:
                    self.unknown += 1
                conn = None
                time.sleep(0.02)

    def transfer(self, conn, chance):
        a, b = (key(i) for i in chance.sample(range(ACCOUNTS), 2))
        got = conn.call("kv.txn", [], [["get", a], ["get", b]], [], {"deadline_ms": 1000})
        one, two = got[b"results"]
        amount = chance.randint(1, 20)
        if int(one[b"value"]) < amount:
            return
        done = conn.call(
            "kv.txn",
            [["rev", a, "=", one[b"rev"]], ["rev", b, "=", two[b"rev"]]],
            [["put", a, b"%d" % (int(one[b"value"]) - amount)],
             ["incr", b, amount]],
            [["get", a]], {"deadline_ms": 1000})
        with self.lock:
            if done[b"succeeded"]:
                self.moved += 1
            else:
                self.refused += 1

    def read(self, conn, chance):
        got = conn.call("kv.txn", [], [["range", b"{bank}", b"{bank}~"]], [],
                        {"deadline_ms": 1000})
        items = got[b"results"][0][b"items"]
        total = sum(int(value) for _, value, _ in items)
        with self.lock:
            self.reads += 1
        if len(items) != ACCOUNTS or total != ACCOUNTS * EACH:
            self.wrong.append(f"sum {total} of {items}")


def main(argv):
    if len(argv) != 3:
        raise SystemExit(__doc__)
    ports = [int(p) for p in argv[2].split(",")]
    conn = rpc.Conn(ports[0])
    conn.call("kv.txn", [], [["put", key(i), b"%d" % EACH] for i in range(ACCOUNTS)], [])
    bank = Bank(ports, float(argv[1]))
    threads = [threading.Thread(target=bank.run, args=(bank.transfer, i))
               for i in range(WRITERS)]
    threads += [threading.Thread(target=bank.run, args=(bank.read, 100 + i))
                for i in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    print(f"moved={bank.moved} refused={bank.refused} unknown={bank.unknown} "
          f"reads={bank.reads}")
    for line in bank.wrong[:5]:
        print("wrong:", line)
    return 1 if bank.wrong or bank.moved == 0 or bank.reads == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
