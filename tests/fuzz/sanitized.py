# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of damaged files share: programs that were built with ASan
and UBSan, and what real guests left (*.img.gz, see mk* beside them).

Relies on `make asan`.
"""

import contextlib
import gzip
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'cli'))

from cli import BUILD  # noqa: E402 (needs the path above)

ASAN = os.path.join(BUILD, 'asan')
READ = os.path.join(ASAN, 'bin', 'dlog-read')
CORE = os.path.join(ASAN, 'bin', 'dlog-core')
# A program's own exit status is never taken for a sanitizer's.
ENV = dict(os.environ, LC_ALL='C.UTF-8', ASAN_OPTIONS='exitcode=99',
           UBSAN_OPTIONS='exitcode=99')


def run(*command, status=(0,), timeout=60):
    """A program that must end with one of these statuses."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, env=ENV,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=timeout)
    assert done.returncode in status, (
        command, done.returncode, done.stderr.decode(errors='replace')[-4000:])
    return done


def mutate(program, *args):
    """A program that damages files and reads them, many times."""
    done = subprocess.run([os.path.join(ASAN, 'tests', program), *args],
                          env=ENV, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    print(done.stdout.decode(errors='replace')[-4000:])
    assert done.returncode == 0, 'status %d' % done.returncode


def unpacked(name):
    """What a real guest left in NAME.img.gz."""
    with gzip.open(os.path.join(HERE, name + '.img.gz')) as f:
        return f.read()


@contextlib.contextmanager
def file_of(data):
    """The path of a file with these bytes, for a while."""
    with tempfile.NamedTemporaryFile() as f:
        f.write(data)
        f.flush()
        yield f.name
