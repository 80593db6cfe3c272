#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Random damage to a real guest's acpi-erst file, under ASan and UBSan.

Relies on build/tests/mutate_stock.asan (make asan) and erst.img.gz (see
mkerst).
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
    with gzip.open(os.path.join(HERE, 'erst.img.gz')) as f, \
            tempfile.NamedTemporaryFile() as store:
        store.write(f.read())
        store.flush()
        done = subprocess.run([os.path.join(BUILD, 'tests/mutate_stock.asan'),
                               'erst', str(count), str(seed), store.name],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    print(done.stdout.decode(errors='replace')[-4000:])
    assert done.returncode == 0, 'status %d' % done.returncode


@case
def a_thousand():
    mutate(1000, 1)


@case(long=True, timeout=7200)
def a_hundred_thousand():
    mutate(100000, 2)


if __name__ == '__main__':
    main()
