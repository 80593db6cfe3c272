# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of dlog-qemu share.

Relies on tests/scenarios/lib for QMP, and on dlog-qemu built.  DLOG_BUILD
names another build folder.
"""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '../scenarios'))

from lib.case import main as run_cases  # noqa: E402 (needs the path above)
from lib.image import cache_dir  # noqa: E402
from lib.qmp import Qmp  # noqa: E402

TREE = os.path.normpath(os.path.join(HERE, '../..'))
BUILD = os.path.join(TREE, os.environ.get('DLOG_BUILD') or 'build')
DLOG_QEMU = os.path.join(BUILD, 'bin/dlog-qemu')
QEMU = 'qemu-system-x86_64'
MIB = 1 << 20
MAGIC = b'dlogRGN\x1a'


def main():
    """Runs the file's cases, or skips them all without a dlog-qemu."""
    if not os.path.exists(DLOG_QEMU) and '--list' not in sys.argv:
        print('skip: no %s: make host' % DLOG_QEMU)
        sys.exit(77)
    run_cases()


@contextlib.contextmanager
def folder():
    """A folder to work in, with a short name for sockets."""
    with tempfile.TemporaryDirectory(prefix='dlog-qemu-') as path:
        yield os.path.realpath(path)


def run(*args, env=None, **kwargs):
    """dlog-qemu's (status, standard output, standard error)."""
    done = subprocess.run([DLOG_QEMU, *args], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=60, env=env, **kwargs)
    return done.returncode, done.stdout, done.stderr


def create(path, *options):
    """Makes a region with dlog-qemu itself and a program that is not QEMU."""
    status, _, err = run(*options, path, '--', 'true')
    assert status == 0, err
    assert 'created %s' % path in err, err


def qemus():
    """Every QEMU here: the machine's and Debian 13's of the cache."""
    found = [QEMU]
    trixie = os.path.join(cache_dir(), 'qemu-trixie/bin/qemu-system-x86_64')
    if os.path.exists(trixie):
        found.append(trixie)
    return found


def connect(path, process=None):
    """QMP of a QEMU that is about to listen."""
    deadline = time.monotonic() + 60
    while True:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(path)
            return Qmp(sock)
        except OSError:
            sock.close()
            if process and process.poll() is not None:
                raise AssertionError('QEMU ended: ' +
                                     process.stdout.read()) from None
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
