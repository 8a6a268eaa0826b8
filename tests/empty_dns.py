"""A name server that knows no name, for boxes under test: beside one that is silent every letter
waits for answers that never come. Nothing but Python's own library."""
import socket
import struct
import threading

# The root's SOA, so that the answer may be kept for a minute (RFC 2308 §3).
NUMBERS = struct.pack("!5I", 1, 60, 60, 60, 60)
AUTHORITY = b"\0" + struct.pack("!HHIH", 6, 1, 60, len(NUMBERS) + 2) + b"\0\0" + NUMBERS


def start():
    """Answers from now on, as long as this process lives; on which port of 127.0.0.1."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    threading.Thread(target=answer, args=(server,), daemon=True).start()
    return server.getsockname()[1]


def answer(server):
    while True:
        query, asker = server.recvfrom(4096)
        end = 12
        while query[end]:
            end += 1 + query[end]
        question = query[12:end + 5]
        # A response, recursion there, NXDOMAIN (RFC 1035 §4.1.1); no EDNS.
        head = query[:2] + struct.pack("!HHHHH", 0x8183, 1, 0, 1, 0)
        server.sendto(head + question + AUTHORITY, asker)
