# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast a guest's whole RAM is read.

Relies on Debian 12's kernel under TCG for a file that a real guest had as its
RAM; all its blocks are there, in memory if there is room.
"""

import os

from common import KERNEL, best, compile_c, program, run, say, scratch
from lib.guest import Guest
from table import Row

SIZE = 4 << 30


def make(path):
    """The RAM of a guest that has booted and was killed, without holes."""
    with Guest(kernel=KERNEL, machine='pc,memory-backend=ram', mem='4G',
               qemu_args=['-object', 'memory-backend-file,id=ram,share=on,'
                          'mem-path=%s,size=%d' % (path, SIZE)]) as guest:
        guest.kill9()
    # What the guest never touched reads as zeros, but from memory.
    with open(path, 'r+b', buffering=0) as f:
        for at in range(0, SIZE, 1 << 20):
            f.seek(at)
            data = f.read(1 << 20)
            f.seek(at)
            f.write(data)


def seconds(*args):
    return best(5, list(args), by='wall')['wall']


def dmesg():
    say('dmesg out of 4 GiB of RAM')
    with scratch(SIZE + (1 << 28)) as folder:
        path = os.path.join(folder, 'ram')
        make(path)
        read = program('dlog-read')
        lines = run([read, path]).count('\n')
        compile_c('timed')
        return [Row('ram_dmesg_4g', 's', seconds(read, path), 1,
                    floor=seconds('cat', path),
                    peers={'all_of_it': seconds(read, '--stats', path)},
                    note='%d lines out of a file without holes, in memory; '
                    'the floor is cat; all_of_it: --stats, which looks at '
                    'every page for other kernels' % lines)]
