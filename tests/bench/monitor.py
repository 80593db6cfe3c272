# SPDX-License-Identifier: GPL-2.0-or-later
"""What dlogd costs: forwarding, and watching many guests that say nothing.

Relies on build/tests/simguests for guests and on tests/bench/fill.c for a
region full of kernel text.
"""

import os
import subprocess
import time

from common import BUILD, BenchError, best, program, say, scratch
from reader import count_lines, fill
from table import Row

MIB = 1 << 20
GUESTS = 200
SETTLE = 30     # seconds, until every sink's reader has let go of its buffers
WATCH = 20


class Daemon:
    """dlogd on a folder of regions."""

    def __init__(self, folder, regions, *args):
        self.process = subprocess.Popen(
            [program('dlogd'), '-q', '--regions', regions, '--listen', 'none',
             '--control', 'none', '--state-dir', os.path.join(folder, 'state'),
             '--bundles', os.path.join(folder, 'bundles'), *args])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def cpu(self):
        """Seconds so far."""
        with open('/proc/%d/stat' % self.process.pid) as f:
            fields = f.read().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def memory(self, what):
        """MiB; VmRSS now, VmHWM at most."""
        with open('/proc/%d/status' % self.process.pid) as f:
            for line in f:
                if line.startswith(what + ':'):
                    return int(line.split()[1]) / 1024
        raise BenchError('no %s of dlogd' % what)


def forward():
    say('dlogd, a backlog to a JSON file')
    read = [program('dlog-read'), '-q', '--no-pager', '-o', 'json']
    with scratch(2048 * MIB) as folder:
        regions = os.path.join(folder, 'regions')
        os.mkdir(regions)
        region = os.path.join(regions, 'guest.img')
        out = os.path.join(folder, 'out.json')
        fill(region, 128 * MIB)
        lines = count_lines(read + [region])
        reader = lines / best(2, read + [region])['cpu']
        with Daemon(folder, regions, '--json', out) as daemon:
            deadline = time.monotonic() + 120
            size = -1
            while size != (size := os.path.getsize(out)
                           if os.path.exists(out) else 0) or not size:
                if time.monotonic() > deadline:
                    raise BenchError('dlogd does not come to an end')
                time.sleep(1)
            cpu = daemon.cpu()
        with open(out, 'rb') as f:
            wrote = sum(b'"position":' in line for line in f)
    if wrote != lines:
        raise BenchError('%d records, dlogd wrote %d' % (lines, wrote))
    return Row('dlogd_forward', 'records/s', wrote / cpu, 100000, more=True,
               peers={'dlog-read_json': reader}, beside='dlog-read_json',
               note='for each second of CPU, cursors and all; %.1f M records'
               % (wrote / 1e6))


def idle():
    say('dlogd, %d guests that say nothing (%d s)' % (GUESTS, SETTLE + WATCH))
    with scratch(GUESTS * 16 * MIB) as folder:
        regions = os.path.join(folder, 'regions')
        os.mkdir(regions)
        guests = subprocess.Popen(
            [os.path.join(BUILD, 'tests', 'simguests'), regions, '--guests',
             str(GUESTS), '--rings', '4', '--size', str(16 * MIB), '--rate',
             '0', '--seconds', '600', '--qmp'], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        try:
            if guests.stdout.readline() != 'ready\n':
                raise BenchError('no simguests: run make tools first')
            with Daemon(folder, regions, '--json',
                        os.path.join(folder, 'out.json')) as daemon:
                time.sleep(SETTLE)
                cpu = daemon.cpu()
                time.sleep(WATCH)
                cpu = (daemon.cpu() - cpu) / WATCH * 100
                rss, peak = daemon.memory('VmRSS'), daemon.memory('VmHWM')
        finally:
            guests.kill()
            guests.wait()
    return [Row('dlogd_idle_200', 'percent of a core', cpu, 2,
                note='watched by QMP and heartbeats, followed by one sink'),
            Row('dlogd_memory_200', 'MiB', peak, 100, peers={'settled': rss},
                note='peak, with one sink')]


def costs():
    return [forward(), *idle()]
