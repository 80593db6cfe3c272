#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutations of files of probes, and hits of what came of them, under ASan and
UBSan.

Relies on build/tests/mutate_probe.asan (make asan).
"""

import os
import subprocess
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'scenarios'))

from lib.case import case, main  # noqa: E402 (needs the path above)

TREE = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(TREE, os.environ.get('DLOG_BUILD') or 'build')
FILES = (os.path.join(HERE, 'probe.probes'),
         os.path.join(TREE, 'qemu-plugin/recipes/printk.probes'))


def mutate(count, seed):
    for name in FILES:
        done = subprocess.run([os.path.join(BUILD, 'tests/mutate_probe.asan'),
                               '--count=%d' % count, '--seed=%d' % seed, name],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        print(done.stdout.decode(errors='replace')[-4000:])
        assert done.returncode == 0, 'status %d' % done.returncode


@case
def twenty_thousand():
    mutate(20000, 1)


@case(long=True, timeout=3600)
def two_million():
    mutate(2000000, 2)


if __name__ == '__main__':
    main()
