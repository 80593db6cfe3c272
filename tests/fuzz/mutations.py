#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""100,000 random mutations of a real guest's region, under ASan and UBSan.

Relies on build/tests/mutate.asan (make asan) and real.img.gz (see mkreal).
"""

import gzip
import os
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'scenarios'))

from lib.case import case, main  # noqa: E402 (needs the path above)

TREE = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(TREE, os.environ.get('DLOG_BUILD') or 'build')


def mutate(count, seed):
    with gzip.open(os.path.join(HERE, 'real.img.gz')) as f, \
            tempfile.NamedTemporaryFile() as region:
        region.write(f.read())
        region.flush()
        done = subprocess.run([os.path.join(BUILD, 'tests/mutate.asan'),
                               '--count=%d' % count, '--seed=%d' % seed,
                               region.name], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
    print(done.stdout.decode(errors='replace')[-4000:])
    assert done.returncode == 0, 'status %d' % done.returncode


@case(timeout=900)
def fifteen_thousand():
    mutate(15000, 1)


@case(long=True, timeout=7200)
def a_million():
    mutate(1000000, 2)


if __name__ == '__main__':
    main()
