#!/usr/bin/python3
"""tests/e2e/hostile.py - what a hostile or broken sender may try, and what must hold.

    hostile.py CLIENTPORT PEERPORT HTTPPORT OTHERCLIENTPORT PID

Prints "ok ..." or "not ok ..." per test. After each one a witness, connected since the
beginning, must still be served quickly, by this node and by another one.
"""
import os
import random
import resource
import socket
import struct
import sys
import time

import msgpack

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rpc import Conn, text  # noqa: E402

CLIENT, PEER, HTTP, OTHER, PID = (int(a) for a in sys.argv[1:6])
ANON_MAX_KB = 600 * 1024  # Memory of the process itself, without LMDB's map.
chance = random.Random(7)


def anon_kb():
    with open(f"/proc/{PID}/status") as f:
        for line in f:
            if line.startswith("RssAnon:"):
                return int(line.split()[1])
    raise AssertionError("the node is dead")


def connect(port, timeout=10.0):
    s = socket.create_connection(("127.0.0.1", port), timeout=timeout)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def send(s, data):
    """Sends as far as the other side lets us."""
    try:
        s.sendall(data)
        return True
    except OSError:
        return False


def ending(s, seconds=10.0):
    """b"closed", or the bytes that came first."""
    s.settimeout(seconds)
    try:
        data = s.recv(65536)
    except socket.timeout:
        return None
    except OSError:
        return b"closed"
    return data or b"closed"


def refused(data, port=CLIENT):
    """Sent `data`, the node must close or answer with an error, within 10 s."""
    s = connect(port)
    send(s, data)
    end = ending(s)
    assert end is not None, "neither an error nor closed"
    if end != b"closed" and port == CLIENT:
        message = msgpack.unpackb(end, raw=True, strict_map_key=False)
        assert message[0] == 1 and message[2] is not None, message
    s.close()


def request(params_bytes, method=b"kv.get"):
    return b"\x94\x00\x01" + msgpack.packb(method.decode()) + params_bytes


# ---- client port ----

def other_protocols():
    refused(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    refused(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200)
    refused(b"*1\r\n$4\r\nPING\r\n")
    refused(b"SSH-2.0-OpenSSH_9.2\r\n")


def forbidden_byte():
    refused(b"\xc1")
    refused(request(b"\x91\xc1"))


def huge_counts():
    for head in (b"\xdd\xff\xff\xff\xff", b"\xdd\x0f\xff\xff\xff", b"\xdc\xff\xff"):
        s = connect(CLIENT)
        send(s, head + b"\0" * 1000)
        assert ending(s) is not None, head
    for inner in (b"\xdd\xff\xff\xff\xff", b"\xdd\x0f\xff\xff\xff", b"\xdf\x07\xff\xff\xff",
                  b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x01"):
        refused(request(inner))
        refused(request(b"\x91" + inner))


def deep_nesting():
    refused(request(b"\x91" * 100000))
    refused(request(b"\x91" + b"\x81\xa1a" * 5000))
    refused(b"\x94\x00\x01" + b"\x91" * 40)


def oversized():
    s = connect(CLIENT)
    alive = send(s, request(b"\x92\xa1k\xc6\x06\x00\x00\x00", b"kv.put"))
    sent = 0
    while alive and sent < 16 << 20:
        alive = send(s, b"x" * 65536)
        sent += 65536
    end = ending(s)
    assert end is not None, "swallowed 16 MB of a message that is too large"
    s.close()


def wrong_shapes():
    for message in ([0], [0, 1, "kv.get"], [0, -1, "kv.get", ["k"]], [0, 1.5, "kv.get", ["k"]],
                    [0, 1, "kv.get", "k"], [0, 1, 7, ["k"]], [7, 1, "kv.get", ["k"]],
                    [0, 1, "x" * 100000, []], [0, 1, "kv.get", [["k"]]], [0, 1, "kv.get", [None]],
                    [0, 1, "kv.put", ["k", {"a": 1}]], [0, 1, "kv.get", ["k", "opts"]],
                    [0, 1, "kv.get", ["k", {"level": "nonsense"}]],
                    [0, 1, "kv.incr", ["k", "many"]], [0, 1, "kv.get", ["k"] * 5000]):
        refused(msgpack.packb(message))
    for raw in (b"\x05", b"\xc0", b"\x80", b"\xa3abc"):
        refused(raw)


def truncated():
    whole = msgpack.packb([0, 1, "kv.put", ["key", "v" * 100]])
    for n in range(1, len(whole), 3):
        s = connect(CLIENT)
        send(s, whole[:n])
        s.close()


def noise():
    for _ in range(60):
        s = connect(CLIENT)
        send(s, chance.randbytes(chance.randrange(1, 70000)))
        s.close()


def noisy_requests():
    whole = msgpack.packb([0, 1, "kv.put", ["key", "value", {"deadline_ms": 100}]])
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        s = connect(CLIENT)
        send(s, bytes(data))
        s.close()


def slow_senders():
    whole = msgpack.packb([0, 1, "kv.get", ["key"]])
    slow = [connect(CLIENT) for _ in range(200)]
    for i in range(len(whole) - 1):
        for s in slow:
            send(s, whole[i:i + 1])
    witness("while 200 messages are half sent")
    for s in slow:
        send(s, whole[-1:])
    for s in slow:
        end = ending(s)
        assert end not in (None, b"closed"), "a slow but correct request got no answer"
        s.close()


def never_reads():
    Conn(CLIENT).call("kv.put", "large", b"v" * 500000)
    s = connect(CLIENT)
    s.settimeout(3.0)
    data = msgpack.packb([0, 1, "kv.get", ["large"]]) * 100
    try:
        for _ in range(200):
            s.sendall(data)
    except OSError:
        pass
    witness("while a client does not read 20,000 answers of 500 kB")
    s.close()


def pipelined_flood():
    s = connect(CLIENT)
    s.settimeout(3.0)
    data = b"".join(msgpack.packb([0, i, "kv.put", [f"flood{i}", "x" * 100]]) for i in range(5000))
    send(s, data)
    unpacker = msgpack.Unpacker(raw=True, strict_map_key=False)
    answers = 0
    end = time.time() + 30
    while answers < 5000 and time.time() < end:
        try:
            got = s.recv(65536)
        except OSError:
            break
        if not got:
            break
        unpacker.feed(got)
        answers += sum(1 for _ in unpacker)
    assert answers == 5000, f"{answers} of 5000 pipelined requests were answered"
    s.close()


def idle_crowd():
    crowd = []
    for _ in range(3000):
        try:
            crowd.append(connect(CLIENT))
        except OSError as e:
            raise AssertionError(f"connection {len(crowd)}: {e}") from e
    witness("beside 3,000 idle clients")
    newcomer = Conn(CLIENT)
    newcomer.call("hello")
    for _ in range(2000):
        try:
            crowd.append(connect(CLIENT, 2.0))
        except OSError:
            break
    witness("when more clients come than may")
    for s in crowd:
        s.close()


# ---- peer port ----

def peer_noise():
    for data in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 5000, b"\xff" * 5000,
                 msgpack.packb([0, 1, "kv.get", ["k"]])):
        refused(data, PEER)
    for _ in range(60):
        s = connect(PEER)
        send(s, chance.randbytes(chance.randrange(1, 70000)))
        s.close()


def peer_captured():
    """Frames with our own magic, as far as one can learn it by connecting."""
    s = connect(PEER)
    s.settimeout(1.0)
    try:
        hello = s.recv(4096)
    except OSError:
        hello = b""
    s.close()
    if len(hello) < 8:
        hello = b"KVD1" + b"\0" * 60
    for _ in range(200):
        data = bytearray(hello)
        for _ in range(chance.randrange(0, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        s = connect(PEER)
        send(s, bytes(data) + chance.randbytes(chance.randrange(0, 3000)))
        s.close()
    for length in (0xffffffff, 0x7fffffff, 0x01000000):
        for at in range(4, min(len(hello) - 3, 24), 2):
            data = bytearray(hello)
            data[at:at + 4] = struct.pack(">I", length)
            s = connect(PEER)
            send(s, bytes(data))
            s.close()


def peer_crowd():
    crowd = [connect(PEER) for _ in range(500)]
    witness("beside 500 idle peers")
    for s in crowd:
        s.close()


# ---- HTTP port ----

def http_get(path="/livez"):
    s = connect(HTTP)
    s.sendall(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    data = b""
    while True:
        got = s.recv(65536)
        if not got:
            return data
        data += got


def http_garbage():
    for data in (b"\0" * 100, b"GARBAGE\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
                 b"GET /" + b"a" * 200000 + b" HTTP/1.1\r\n\r\n",
                 b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 50000 + b"\r\n",
                 b"GET / HTTP/1.1\r\nX: " + b"y" * 1000000 + b"\r\n\r\n",
                 b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
                 b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
                 b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n"):
        s = connect(HTTP)
        send(s, data)
        end = ending(s)
        assert end is not None, f"no answer to {data[:40]!r}"
        assert b"root:" not in end
        assert not end.startswith(b"HTTP/1.1 200"), (data[:40], end[:100])
        s.close()


def http_slow_and_idle():
    slow = [connect(HTTP) for _ in range(300)]
    for s in slow:
        send(s, b"GET /met")
    assert http_get().startswith(b"HTTP/1.1 200"), "/livez beside 300 half requests"
    for s in slow:
        s.close()


def http_pipelined():
    s = connect(HTTP)
    send(s, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
    data = b""
    while data.count(b"HTTP/1.1 ") < 100:
        got = ending(s)
        if got in (None, b"closed"):
            break
        data += got
    assert data.count(b"HTTP/1.1 200") >= 1, data[:200]
    assert http_get("/metrics").startswith(b"HTTP/1.1 200")


# ---- running them ----

def witness(when):
    for conn in witnesses:
        begin = time.time()
        conn.call("kv.put", "witness", when, {"deadline_ms": 5000})
        got = text(conn.call("kv.get", "witness", {"deadline_ms": 5000}))["value"]
        spent = time.time() - begin
        assert got == when, got
        assert spent < 3.0, f"a client unconcerned waited {spent:.1f} s {when}"


resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
witnesses = [Conn(CLIENT), Conn(OTHER)]
for port, tests in (("client", (other_protocols, forbidden_byte, huge_counts, deep_nesting, oversized,
                                wrong_shapes, truncated, noise, noisy_requests, slow_senders,
                                never_reads, pipelined_flood, idle_crowd)),
                    ("peer", (peer_noise, peer_captured, peer_crowd)),
                    ("http", (http_garbage, http_slow_and_idle, http_pipelined))):
    for test in tests:
        name = f"{port} port: {test.__name__.replace('_', ' ')}"
        try:
            test()
            witness("after " + test.__name__)
            used = anon_kb()
            assert used < ANON_MAX_KB, f"the node uses {used >> 10} MiB"
            print("ok", name, flush=True)
        except Exception as e:  # noqa: BLE001
            print(f"{type(e).__name__}: {e}")
            print("not ok", name, flush=True)
print(f"memory of the node at the end: {anon_kb() >> 10} MiB", flush=True)
