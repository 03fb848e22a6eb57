"""Processes that use a storage, told what to do through a pipe.

Every measurement opens the storage, warms it up, measures, and closes it: clients that are idle
would be sent invalidations, and would take the processor of those that are measured.
"""

import contextlib
import multiprocessing
import threading

import past
import work
import ZODB.config

WORK = {**work.WORK, **past.WORK}


def run(section, name, barrier, options, repeat):
    """Opens a storage and works on it, in `repeat` threads."""
    storage = ZODB.config.storageFromString(section)
    results = [None] * repeat
    failures = []

    def one(i):
        try:
            results[i] = WORK[name](storage, barrier, **options)
        except Exception as error:  # noqa: BLE001
            # Others wait for this one.
            barrier.abort()
            failures.append(error)

    try:
        threads = [threading.Thread(target=one, args=(i,)) for i in range(1, repeat)]
        for thread in threads:
            thread.start()
        one(0)
        for thread in threads:
            thread.join()
    finally:
        storage.close()
    if failures:
        raise failures[0]
    return results


def serve(pipe, barrier):
    """What a process does until the pipe is closed."""
    with contextlib.suppress(EOFError):
        while True:
            section, work, options, repeat = pipe.recv()
            try:
                pipe.send((run(section, work, barrier, options, repeat), None))
            except Exception as error:  # noqa: BLE001
                barrier.abort()
                pipe.send((None, f"{type(error).__name__}: {error}"))


class Clients:
    """Processes, or threads of one process for a storage that only one can open."""

    def __init__(self, peer, count):
        context = multiprocessing.get_context("spawn")
        self.peer = peer
        processes = count if peer.processes else 1
        self.repeat = 1 if peer.processes else count
        self.barrier = context.Barrier(count)
        self.pipes = []
        self.processes = []
        for _ in range(processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(theirs, self.barrier), daemon=True)
            process.start()
            theirs.close()
            self.pipes.append(ours)
            self.processes.append(process)

    def __call__(self, work, **options):
        """Results of all clients."""
        for pipe in self.pipes:
            pipe.send((self.peer.section(), work, options, self.repeat))
        answers = [pipe.recv() for pipe in self.pipes]
        for _, error in answers:
            if error:
                raise RuntimeError(f"{self.peer.name}, {work}: {error}")
        return [result for results, _ in answers for result in results]

    def __len__(self):
        return len(self.processes) * self.repeat

    @property
    def pids(self):
        return [process.pid for process in self.processes]

    def close(self):
        for pipe in self.pipes:
            pipe.close()
        for process in self.processes:
            process.join()
