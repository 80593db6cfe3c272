# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of the command lines share: run a program, make a region
from a script (tests/tools/mkregion.c has the commands)."""

import functools
import json
import os
import pty
import re
import select
import subprocess
import sys
import tempfile
import time

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TESTS, 'scenarios'))

TREE = os.path.dirname(TESTS)
BUILD = os.path.join(TREE, os.environ.get('DLOG_BUILD') or 'build')
READ = os.path.join(BUILD, 'bin', 'dlog-read')
CORE = os.path.join(BUILD, 'bin', 'dlog-core')
CREATE = os.path.join(BUILD, 'bin', 'dlog-create')
MKREGION = os.path.join(BUILD, 'tests', 'mkregion')

from lib.case import case as _case, skip  # noqa: E402 (needs the path above)

_dir = None

ENV = {'PATH': os.environ['PATH'], 'LC_ALL': 'C.UTF-8', 'TZ': 'UTC',
       'TERM': 'xterm'}


def case(function):
    """lib.case's, with an empty directory for each case."""
    @functools.wraps(function)
    def inside():
        global _dir
        with tempfile.TemporaryDirectory(prefix='dlog-cli-') as _dir:
            function()
    return _case(inside)


def path(name):
    """A place for a file of this test."""
    return os.path.join(_dir, name)


def region(script, name='guest.img'):
    """A region file made as the script says."""
    out = subprocess.run([MKREGION, path(name)],
                         input=script.encode('utf-8', 'surrogateescape'))
    assert out.returncode == 0, 'mkregion failed'
    return path(name)


class Result:
    def __init__(self, out):
        self.code = out.returncode
        self.raw = out.stdout
        self.out = out.stdout.decode('utf-8', 'surrogateescape')
        self.err = out.stderr.decode('utf-8', 'surrogateescape')
        self.lines = self.out.splitlines()


def run(*args, env=None, **kw):
    return Result(subprocess.run(
        list(args), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, timeout=60, cwd=_dir,
        env=dict(ENV, **(env or {})), **kw))


def complete(script, program, *words):
    """What bash offers for the last of these words, by host-tools/completion/
    SCRIPT."""
    shell = '''
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); cur=; prev=
_%s; printf '%%s\\n' "${COMPREPLY[@]}"
''' % program.replace('-', '_')
    try:
        r = run('bash', '-c', shell, 'bash',
                os.path.join(TREE, 'host-tools', 'completion', script),
                program, *words)
    except FileNotFoundError:
        skip('bash is not installed')
    same((r.code, r.err), (0, ''))
    return sorted(line for line in r.lines if line)


def long_options(text):
    return set(re.findall(r'--[a-z][a-z-]*', text))


def read(*args, env=None):
    return run(READ, *args, env=env)


def lines(*args):
    """dlog-read's lines; it must succeed and say nothing else."""
    r = read(*args)
    same(r.code, 0)
    same(r.err, '')
    return r.lines


def texts(*args):
    """The text alone of the records it shows."""
    return lines('-o', 'cat', *args)


def objects(*args):
    return [json.loads(line) for line in lines('-o', 'json', *args)]


def same(got, want):
    assert got == want, '\n got: %r\nwant: %r' % (got, want)


def fails(r, code, *words):
    """One line that names the file or option and the reason; no output."""
    same(r.code, code)
    same(r.out, '')
    assert r.err.strip(), 'fails without a word'
    for word in words:
        assert word in r.err, '%r is not in %r' % (word, r.err)


def terminal(*args, env=None, keys=b'', limit=20):
    """Runs a program on a terminal of its own: (exit code, what it shows)."""
    pid, fd = pty.fork()
    if not pid:
        os.chdir(_dir)
        os.execve(args[0], list(args), dict(ENV, **(env or {})))
    shown = b''
    end = time.monotonic() + limit
    if keys:
        os.write(fd, keys)
    while time.monotonic() < end:
        if not select.select([fd], [], [], 0.1)[0]:
            continue
        try:
            part = os.read(fd, 65536)
        except OSError:         # the other end is closed
            break
        if not part:
            break
        shown += part
    else:
        os.kill(pid, 9)
    status = os.waitpid(pid, 0)[1]
    os.close(fd)
    return os.waitstatus_to_exitcode(status), \
        shown.decode('utf-8', 'replace').replace('\r\n', '\n')
