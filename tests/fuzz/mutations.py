#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""100,000 random mutations of a real guest's region, under ASan and UBSan.

Relies on `make asan` and real.img.gz (see mkreal).
"""

import sys

sys.dont_write_bytecode = True

from sanitized import file_of, mutate, unpacked  # noqa: E402 (no bytecode)
from lib.case import case, main  # noqa: E402


def damage(count, seed):
    with file_of(unpacked('real')) as region:
        mutate('mutate', '--count=%d' % count, '--seed=%d' % seed, region)


@case(timeout=900)
def fifteen_thousand():
    damage(15000, 1)


@case(long=True, timeout=7200)
def a_million():
    damage(1000000, 2)


if __name__ == '__main__':
    main()
