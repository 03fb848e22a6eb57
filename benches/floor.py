"""What the machine can do: the floor under every figure."""

import contextlib
import os
import socket
import sys
import time
from statistics import median

#: Sizes that matter: a page of a log, a small packet.
PAGE = 4096
PACKET = 64


def fdatasync_us(folder, count=50):
    """Appending a page to a file and making it durable."""
    path = os.path.join(folder, "floor")
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        page = os.urandom(PAGE)
        times = []
        for _ in range(count):
            start = time.perf_counter()
            os.write(descriptor, page)
            os.fdatasync(descriptor)
            times.append(time.perf_counter() - start)
    finally:
        os.close(descriptor)
        os.unlink(path)
    return median(times) * 1e6


def round_trip_us(cpus=None, count=500):
    """A small packet there and back between two processes, by TCP on the loopback interface.

    `cpus` are the processors of the two; by default, they are where the system puts them.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    child = os.fork()
    if not child:
        # Nothing of the parent may be flushed or closed twice.
        try:
            echo(listener, cpus and cpus[1])
        finally:
            os._exit(0)
    allowed = os.sched_getaffinity(0)
    try:
        if cpus:
            os.sched_setaffinity(0, {cpus[0]})
        with socket.create_connection(listener.getsockname()) as peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            packet = bytes(PACKET)
            times = []
            for _ in range(count):
                start = time.perf_counter()
                peer.send(packet)
                peer.recv(PACKET)
                times.append(time.perf_counter() - start)
    finally:
        os.sched_setaffinity(0, allowed)
        listener.close()
        os.waitpid(child, 0)
    return median(times) * 1e6


def echo(listener, cpu):
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    peer = listener.accept()[0]
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(ConnectionError):
        while packet := peer.recv(PACKET):
            peer.send(packet)


def idle_share(seconds=1.0):
    """Share of processor time that nobody uses."""

    def times():
        with open("/proc/stat") as file:
            values = [int(word) for word in file.readline().split()[1:9]]
        return values[3] + values[4], sum(values)

    idle, total = times()
    time.sleep(seconds)
    idle_later, total_later = times()
    return (idle_later - idle) / max(total_later - total, 1)


def measure(folder):
    cpus = sorted(os.sched_getaffinity(0))
    result = {
        "fdatasync_us": fdatasync_us(folder),
        "round_trip_us": round_trip_us(),
        "round_trip_one_cpu_us": round_trip_us((cpus[0], cpus[0])),
    }
    if len(cpus) > 1:
        result["round_trip_two_cpus_us"] = round_trip_us((cpus[0], cpus[1]))
    return result


if __name__ == "__main__":
    print(measure(sys.argv[1] if sys.argv[1:] else "."))
