# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast a guest's memory becomes a core.

Relies on tests/scenarios/lib for a guest of 4 GiB that is killed, and on cp.
"""

import os
import shutil
import tempfile

from common import BenchError, available, program, run, say, timed
from lib.guest import Guest
from table import Row

MIB = 1 << 20
GIB = 1 << 30


def killed_guest(path):
    """The file of a guest that was killed, with data in most of its pages:
    what it never touched is filled as if it had."""
    with Guest(machine='pc,memory-backend=ram', mem='4G', qemu_args=[
            '-object', 'memory-backend-file,id=ram,share=on,size=4G,mem-path='
            + path]) as guest:
        guest.kill9()
    junk = os.urandom(MIB)
    with open(path, 'r+b') as f:
        for at in range(0, 4 * GIB, MIB):
            f.seek(at)
            if at // MIB % 4 and not any(f.read(MIB)):
                f.seek(at)
                f.write(junk)
        f.flush()
        os.fsync(f.fileno())


def wall(args, out):
    """The faster of two runs; what is written is removed and synced."""
    times = []
    for _ in range(2):
        run(['sync'])
        done = timed(args)
        if done['status']:
            raise BenchError('%s failed' % args[0])
        times.append(done['wall'])
        os.unlink(out)
    return min(times)


def costs():
    say('a core of a guest of 4 GiB')
    with tempfile.TemporaryDirectory() as folder:
        if shutil.disk_usage(folder).free < 10 * GIB or available() < 5 * GIB:
            why = 'needs 10 GiB of disk and 5 GiB of memory'
            return [Row('core_vs_cp', 'percent', note=why)]
        ram, out = (os.path.join(folder, name) for name in ('ram', 'out'))
        killed_guest(ram)
        core = wall([program('dlog-core'), '-q', ram, out], out)
        sparse = wall(['cp', '--sparse=always', ram, out], out)
        plain = wall(['cp', ram, out], out)
        kernel = wall([program('dlog-core'), '-q', '--kernel-only',
                       '--format=kdump', ram, out], out)
    return [
        Row('core_vs_cp', 'percent', 100 * plain / core, 60, more=True,
            peers={'of_cp_sparse': 100 * sparse / core},
            note='%.1f s; cp %.1f s, cp --sparse=always %.1f s; kernel only '
            'and compressed %.1f s' % (core, plain, sparse, kernel)),
    ]
