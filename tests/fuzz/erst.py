#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Random damage to a real guest's acpi-erst file, under ASan and UBSan.

Relies on `make asan` and erst.img.gz (see mkerst).
"""

import sys

sys.dont_write_bytecode = True

from sanitized import file_of, mutate, unpacked  # noqa: E402 (no bytecode)
from lib.case import case, main  # noqa: E402


def damage(count, seed):
    with file_of(unpacked('erst')) as store:
        mutate('mutate_stock', 'erst', str(count), str(seed), store)


@case
def a_thousand():
    damage(1000, 1)


@case(long=True, timeout=7200)
def a_hundred_thousand():
    damage(100000, 2)


if __name__ == '__main__':
    main()
