#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""dlog-core: usage, files that are no memory, and peers that are no QEMU.

What it makes of real guests is tested in tests/scenarios/core.py."""

import json
import os
import socket
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from cli import CORE, CREATE, case, path, run, same  # noqa: E402
from lib.case import main  # noqa: E402


def fails(status, words, *args):
    r = run(CORE, *args)
    same((r.code, r.out), (status, ''))
    assert words in r.err, r.err
    assert status == 2 or r.err.count('\n') == 1, r.err
    left = [n for n in os.listdir(os.path.dirname(path('x')))
            if n.startswith('core')]
    same(left, [])


def some_file(name='ram', size=1 << 20):
    with open(path(name), 'wb') as f:
        f.truncate(size)
    return path(name)


def region():
    same(run(CREATE, '-q', '-s', '1M', path('guest.img')).code, 0)
    return path('guest.img')


@case
def usage():
    ram = some_file()
    for words, args in (
            ('which file', []),
            ('at a time', [ram, 'a', 'b']),
            ('not from both', ['--qmp=x', '--regs=y', ram]),
            ('--freeze needs --qmp', ['--freeze', ram]),
            ('--json goes with', ['--json', ram]),
            ('write no core', ['--tasks', ram, path('core')]),
            ('is not compressed', ['--compress=zlib', ram, path('core')]),
            ("'qcow' is no format", ['--format=qcow', ram]),
            ("'lzo' is no method", ['--compress=lzo', ram]),
            ("'x' is no size", ['--max-size=x', ram]),
            ('no name of a core', [ram, '']),
            ('unrecognized option', ['--nonsense', ram])):
        fails(2, words, *args)


@case
def no_memory_of_a_guest():
    core = path('core')
    fails(1, 'No such file', path('none'), core)
    fails(1, 'no kernel', some_file(), core)
    fails(1, path('empty'), some_file('empty', 0), core)
    fails(1, path('core.d'), some_file(), path('core.d') + '/no/core')
    fails(1, path(''), path(''), core)
    fails(1, 'kernel', region(), core)


@case
def what_is_there_stays():
    ram, there = some_file(), some_file('there', 77)
    fails(1, 'exists and is left alone', ram, there)
    fails(1, 'kernel', '-f', ram, there)    # it does not come so far
    same(os.path.getsize(there), 77)
    fails(1, 'memory itself', '-f', ram, ram)
    guest = region()
    fails(1, 'is a region', '-f', ram, guest)
    os.symlink(ram, path('link'))
    fails(1, 'is no file', '-f', ram, path('link'))
    os.mkdir(path('dir'))
    fails(1, 'is no file', '-f', ram, path('dir'))


def peer(*answers, hang=False):
    """Something that listens at path('qmp'), and its thread."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path('qmp'))
    listener.listen(1)

    def serve():
        with listener, listener.accept()[0] as s:
            for answer in answers:
                try:
                    s.sendall(answer)
                    if b'QMP' not in answer or hang:
                        s.recv(65536)
                except OSError:
                    return      # it has heard enough
            if hang:
                s.recv(65536)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


def said_to(*answers, hang=False):
    thread = peer(*answers, hang=hang)
    r = run(CORE, '--qmp', path('qmp'), some_file(), path('core'))
    same((r.code, r.out), (1, ''))
    same([n for n in os.listdir(path('')) if n.startswith('core')], [])
    thread.join(30)
    os.unlink(path('qmp'))
    return r.err


GREETING = b'{"QMP": {"version": {}, "capabilities": []}}\r\n'


@case
def no_qemu():
    fails(1, 'No such file', '--qmp', path('none'), some_file(), path('core'))
    fails(1, 'too long', '--qmp', 'x' * 200, some_file(), path('core'))
    assert 'no QMP' in said_to(b'SSH-2.0\r\n')
    assert 'no QMP' in said_to(b'[1, 2]\n')
    assert 'no QMP' in said_to(b'x' * (2 << 20))
    assert 'has ended' in said_to()
    assert 'has ended' in said_to(GREETING)
    refused = json.dumps({'id': 1, 'error': {'desc': 'not\x1b today'}})
    err = said_to(GREETING, refused.encode() + b'\n')
    assert 'refuses qmp_capabilities: not' in err and '\x1b' not in err, err
    other = b'{"id": 7, "return": {}}\n' * 3
    assert 'has ended' in said_to(GREETING, other)


if __name__ == '__main__':
    main()
