# SPDX-License-Identifier: GPL-2.0-or-later
"""A real gdb with dlog's commands, on a terminal of its own.

    with Gdb() as gdb:
        gdb('target remote ...')
        text = gdb('dlog log -n 5')

Relies on tests/cli/cli.py for region files and dlog-read."""

import os
import pty
import re
import secrets
import select
import shutil
import subprocess
import sys
import termios
import time

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TESTS, 'cli'))

from cli import ENV, READ, TREE  # noqa: E402 (needs the path above)
from lib.case import skip  # noqa: E402 (cli.py knows the path)

SCRIPT = os.path.join(TREE, 'host-tools', 'gdb', 'dlog-gdb.py')


class Gdb:

    def __init__(self, env=None, script=SCRIPT):
        if not shutil.which('gdb'):
            skip('gdb is not installed')
        self.prompt = '<%s>' % secrets.token_hex(8)
        self.shown = ''         # behind the last prompt
        self.pid, self.fd = pty.fork()
        if not self.pid:
            os.execvpe('gdb', ['gdb', '-nx', '-q', '-iex', 'set editing off',
                               '-iex', 'set prompt ' + self.prompt],
                       dict(ENV, **(env or {})))
        # What it shows shall be just what it writes.
        flags = termios.tcgetattr(self.fd)
        flags[1] &= ~termios.OPOST
        flags[3] &= ~termios.ECHO
        termios.tcsetattr(self.fd, termios.TCSANOW, flags)
        try:
            self.wait()
            for setting in ('confirm off', 'pagination off', 'width 0',
                            'style enabled off',
                            'debuginfod enabled off'):
                self('set ' + setting)
            self.said = self('source ' + script)
            if os.environ.get('DLOG_BUILD'):
                self('set dlog-read ' + READ)   # else it finds its own
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.fd is None:
            return
        os.close(self.fd)       # a hang-up: gdb detaches and ends
        self.fd = None
        end = time.monotonic() + 20
        while not os.waitpid(self.pid, os.WNOHANG)[0]:
            if time.monotonic() > end:
                os.kill(self.pid, 9)
            time.sleep(0.02)

    def read(self, timeout):
        """Whatever it shows next; False if nothing comes."""
        if not select.select([self.fd], [], [], timeout)[0]:
            return False
        try:
            part = os.read(self.fd, 65536)
        except OSError:
            part = b''
        assert part, 'gdb has ended: ' + self.shown
        self.shown += part.decode('utf-8', 'surrogateescape')
        return True

    def wait(self, timeout=60):
        """What it shows up to the next prompt."""
        end = time.monotonic() + timeout
        while self.prompt not in self.shown:
            assert time.monotonic() < end, 'no prompt after %r' % self.shown
            self.read(0.1)
        text, self.shown = self.shown.split(self.prompt, 1)
        return text

    def wait_for(self, pattern, timeout=60):
        """Until it has shown that, before the prompt."""
        end = time.monotonic() + timeout
        while not re.search(pattern, self.shown):
            assert time.monotonic() < end, 'no %r in %r' % (pattern,
                                                            self.shown)
            assert self.prompt not in self.shown, self.shown
            self.read(0.1)

    def send(self, command):
        os.write(self.fd, command.encode() + b'\n')

    def interrupt(self):
        """Ctrl-C."""
        os.write(self.fd, b'\x03')

    def __call__(self, command, timeout=60):
        self.send(command)
        return self.wait(timeout)


def link_symbols(path, base, symbols):
    """An ELF file with nothing but symbols, linked at base: a vmlinux."""
    lines = ['.section .kernel,"ax",@nobits']
    for address, name in sorted((a, n) for n, a in symbols.items()):
        lines += ['.org 0x%x' % (address - base), '.globl ' + name,
                  '.type %s, @function' % name, name + ':']
    lines += ['.skip 4096', '']
    subprocess.run(['as', '-o', path + '.o'], input='\n'.join(lines).encode(),
                   check=True)
    subprocess.run(['ld', '-o', path, '-e', '0', '-z', 'max-page-size=4096',
                    '--section-start=.kernel=0x%x' % base, path + '.o'],
                   check=True)
    return path
