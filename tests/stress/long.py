#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The stress programs at full length: run by tests/run --long.

By hand: build/tests/stress/writers --records 1e9, and so on (--help).
DLOG_BUILD names another build folder.
"""

import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TREE, 'tests', 'scenarios'))

from lib.case import case, main, skip  # noqa: E402

BUILT = os.path.join(TREE, os.environ.get('DLOG_BUILD') or 'build',
                     'tests', 'stress')
SKIP = 77


def run(name, *options):
    """Runs a program of this folder to its end; its output is ours."""
    path = os.path.join(BUILT, name)
    if not os.path.exists(path):
        skip('%s is not built' % path)
    sys.stdout.flush()
    status = subprocess.run([path, *options], check=False).returncode
    if status == SKIP:
        skip('%s says that it cannot run here' % name)
    assert status == 0, '%s %s: exit status %d' % (
        name, ' '.join(options), status)


@case(long=True, timeout=4 * 3600)
def a_thousand_million_records():
    run('writers', '--records', '1e9')


@case(long=True, timeout=3600)
def ten_thousand_kills():
    run('kills', '--rounds', '10000', '--nested', '5000')


@case(long=True, timeout=3600)
def every_place_to_stop():
    run('stopped', '--all')


if __name__ == '__main__':
    main()
