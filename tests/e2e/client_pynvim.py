#!/usr/bin/python3
"""tests/e2e/client_pynvim.py - drives kvd with Neovim's Python client.

    client_pynvim.py PORT

It sends its method names as bin and begins with a notification that kvd does not
know, which kvd must ignore.
"""
import sys

from pynvim.msgpack_rpc import tcp_session


def raw(v):
    return v.encode() if isinstance(v, str) else v


def run(name, test):
    try:
        test()
        print("ok pynvim:", name, flush=True)
    except Exception as e:  # noqa: BLE001
        print(f"{type(e).__name__}: {e}")
        print("not ok pynvim:", name, flush=True)


session = tcp_session("127.0.0.1", int(sys.argv[1]))
session.error_wrapper = lambda e: Exception(e)


def field(result, name):
    return {raw(k): v for k, v in result.items()}[name.encode()]


def put_and_get():
    session.request("kv.put", "nvim", "value")
    assert raw(field(session.request("kv.get", "nvim"), "value")) == b"value"


def error():
    try:
        session.request("kv.nothing")
    except Exception as e:  # noqa: BLE001
        assert "BAD_REQUEST" in str(e), e
    else:
        raise AssertionError("accepted")


run("put and get", put_and_get)
run("an error is an error", error)
