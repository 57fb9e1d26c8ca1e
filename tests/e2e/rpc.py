#!/usr/bin/python3
"""tests/e2e/rpc.py - a MessagePack-RPC client of 60 lines, independent of libkv.

    rpc.py leaders HOST:PORT[,HOST:PORT...]     prints "group leader" per group
    rpc.py call HOST:PORT METHOD [ARG...]       prints the result as JSON

Also imported by the other scripts of this folder. Uses Debian's python3-msgpack.
"""
import json
import socket
import sys

import msgpack


class RpcError(Exception):
    """What the server answered instead of a result: "CODE text"."""

    @property
    def code(self):
        return str(self).split(" ", 1)[0]


class Conn:
    def __init__(self, port, host="127.0.0.1", timeout=10.0):
        self.sock = socket.create_connection((host, port), timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.unpacker = msgpack.Unpacker(raw=True, strict_map_key=False)
        self.next_id = 0

    def close(self):
        self.sock.close()

    def send_raw(self, data):
        self.sock.sendall(data)

    def send(self, method, params, msgid=None):
        if msgid is None:
            msgid = self.next_id
            self.next_id = (self.next_id + 1) & 0xFFFFFFFF
        self.send_raw(msgpack.packb([0, msgid, method, params], use_bin_type=True))
        return msgid

    def receive(self):
        """The next message; EOFError when the server closed."""
        while True:
            for message in self.unpacker:
                return message
            data = self.sock.recv(65536)
            if not data:
                raise EOFError("closed by the server")
            self.unpacker.feed(data)

    def call(self, method, *params):
        msgid = self.send(method, list(params))
        while True:
            message = self.receive()
            if message[0] == 1 and message[1] == msgid:
                break
        if message[2] is not None:
            error = message[2]
            raise RpcError(error.decode() if isinstance(error, bytes) else str(error))
        return message[3]


def text(value):
    """bytes -> str, in maps and lists too, for printing."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, list):
        return [text(v) for v in value]
    if isinstance(value, dict):
        return {text(k): text(v) for k, v in value.items()}
    return value


def leaders(endpoints):
    error = None
    for endpoint in endpoints.split(","):
        host, port = endpoint.strip().rsplit(":", 1)
        try:
            status = text(Conn(int(port), host, 3.0).call("cluster.status"))
            return {g["id"]: g["leader"] for g in status["groups"]}
        except (OSError, EOFError, RpcError) as e:
            error = e
    raise SystemExit(f"no endpoint answers: {error}")


def main(argv):
    if len(argv) == 3 and argv[1] == "leaders":
        for group, leader in sorted(leaders(argv[2]).items()):
            print(group, leader)
    elif len(argv) >= 4 and argv[1] == "call":
        host, port = argv[2].rsplit(":", 1)
        print(json.dumps(text(Conn(int(port), host).call(argv[3], *argv[4:]))))
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv)
