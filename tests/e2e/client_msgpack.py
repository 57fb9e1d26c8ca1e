#!/usr/bin/python3
"""tests/e2e/client_msgpack.py - drives kvd with python3-msgpack, nothing of ours.

    client_msgpack.py PORT OTHERPORT      prints "ok ..." or "not ok ..." per test
"""
import os
import sys

import msgpack

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rpc import Conn, RpcError, text  # noqa: E402

PORT, OTHER = int(sys.argv[1]), int(sys.argv[2])


def value(result):
    return result[b"value"] if b"value" in result else result["value"]


def str_keys():
    c = Conn(PORT)
    c.call("kv.put", "py-str", "text")
    got = value(c.call("kv.get", "py-str"))
    assert got == b"text", got


def bin_keys():
    c = Conn(PORT)
    key, data = b"py-bin\x00\xff", bytes(range(256))
    c.call("kv.put", key, data)
    assert value(c.call("kv.get", key)) == data
    assert value(Conn(OTHER).call("kv.get", key)) == data


def str_and_bin_name_one_key():
    c = Conn(PORT)
    c.call("kv.put", "py-same", b"1")
    assert value(c.call("kv.get", b"py-same")) == b"1"


def bin_method():
    c = Conn(PORT)
    msgid = c.send(b"kv.get", [b"py-same"])
    message = c.receive()
    assert message[:3] == [1, msgid, None], message


def values_go_out_as_bin():
    c = Conn(PORT)
    c.send("kv.get", ["py-same"])
    raw = b""
    while b"value" not in raw:
        raw += c.sock.recv(4096)
    # The value "1" as bin8 of one byte.
    assert b"value\xc4\x011" in raw, raw


def pipelined():
    c = Conn(PORT)
    ids = [c.send("kv.put", [f"py-pipe{i}", str(i)]) for i in range(200)]
    answers = dict((m[1], m) for m in (c.receive() for _ in ids))
    assert sorted(answers) == sorted(ids)
    assert all(m[0] == 1 and m[2] is None for m in answers.values())
    for i in range(0, 200, 17):
        assert value(c.call("kv.get", f"py-pipe{i}")) == str(i).encode()


def byte_by_byte():
    c = Conn(PORT)
    data = msgpack.packb([0, 0xFFFFFFFF, "kv.put", ["py-slow", "x" * 40]])
    data += msgpack.packb([0, 7, "kv.get", ["py-slow"]])
    for i in range(len(data)):
        c.send_raw(data[i:i + 1])
    ids = {c.receive()[1], c.receive()[1]}
    assert ids == {0xFFFFFFFF, 7}, ids


def errors_are_strings():
    c = Conn(PORT)
    for method, params, code in (("kv.nothing", [], "BAD_REQUEST"), ("kv.get", [], "BAD_REQUEST"),
                                 ("kv.put", [b"k" * 481, b"v"], "TOO_LARGE"),
                                 ("kv.get", [b""], "BAD_REQUEST")):
        try:
            c.call(method, *params)
        except RpcError as e:
            assert e.code == code, f"{method}: {e}"
        else:
            raise AssertionError(f"{method} was accepted")
    c.send_raw(msgpack.packb([2, "unknown.notification", [1, 2]]))
    assert c.call("kv.get", "py-same")


def every_method():
    c = Conn(PORT)
    hello = text(c.call("hello"))
    for field in ("server", "version", "proto", "node", "cluster", "features", "time"):
        assert field in hello, f"hello has no {field}: {hello}"
    c.call("kv.del", "py-all")
    r = text(c.call("kv.cas", "py-all", None, "1"))
    assert r["swapped"] is True, r
    r = text(c.call("kv.cas", "py-all", "0", "2"))
    assert r["swapped"] is False and r["value"] == "1", r
    r = text(c.call("kv.incr", "py-all", 41))
    assert r["value"] == 42, r
    r = text(c.call("kv.range", "py-pipe", "py-pipf", {"limit": 50}))
    keys = [item[0] for item in r["items"]]
    assert len(keys) == 50 and keys == sorted(keys) and r["more"] is True, r
    at = r["at"]
    assert at, r
    r = text(c.call("kv.del", "py-all"))
    assert r["deleted"] is True, r
    r = text(c.call("kv.get", "py-all"))
    assert r["found"] is False, r
    assert len(r["at"]) == 6, r
    status = text(c.call("cluster.status"))
    assert len([g for g in status["groups"] if g["id"] > 0]) == 8, status
    assert "nodes" in text(c.call("cluster.map"))


for test in (str_keys, bin_keys, str_and_bin_name_one_key, bin_method, values_go_out_as_bin,
             pipelined, byte_by_byte, errors_are_strings, every_method):
    name = "python3-msgpack: " + test.__name__.replace("_", " ")
    try:
        test()
        print("ok", name, flush=True)
    except Exception as e:  # noqa: BLE001 - each test reports what went wrong
        print(f"{type(e).__name__}: {e}")
        print("not ok", name, flush=True)
