#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Help, man page and bash completion name the same options."""

import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import cli  # noqa: E402
from cli import (CORE, CREATE, READ, TREE, case, long_options, path,  # noqa: E402
                 run, same)
from lib.case import main, skip  # noqa: E402


def complete(program, *words):
    return cli.complete('dlog', program, *words)


@case
def all_three_agree():
    for program, binary in (('dlog-read', READ), ('dlog-create', CREATE),
                            ('dlog-core', CORE)):
        shown = long_options(run(binary, '--help').out)
        assert len(shown) > 10
        same(set(complete(program, '--')), shown)
        with open(os.path.join(TREE, 'docs', 'man', program + '.1')) as f:
            page = f.read().replace('\\-', '-')
        # the page also names --placement of dlog-qemu
        same(long_options(page) - {'--placement'}, shown)


@case
def values():
    same(complete('dlog-read', '-o', 'j'), ['json'])
    same(complete('dlog-read', '--output', '=', 'j'), ['json'])
    same(complete('dlog-read', '-l', 'err,no'), ['err,notice', 'err,notice+'])
    same(complete('dlog-read', '-t', 're'), ['regs'])
    same(complete('dlog-create', '--subbuf', '1'), ['16K'])
    same(complete('dlog-core', '--compress', 'z'), ['zlib', 'zstd'])
    open(path('a guest.img'), 'w').close()
    same(complete('dlog-read', 'a'), ['a guest.img'])


@case
def formats():
    said = run(READ, '-o', 'xml', path('x')).err
    names = re.split(', | or ', said.split('format: ')[1].split('\n')[0])
    assert 'json' in names and len(names) > 5, names
    same(complete('dlog-read', '-o', ''), sorted(names))
    with open(os.path.join(TREE, 'docs', 'man', 'dlog-read.1')) as f:
        page = f.read()
    shown = run(READ, '--help').out
    for name in names:
        assert '.IP \\fB%s\\fR' % name in page, name
        assert re.search(r'(FORMAT|^) +%s +\w' % name, shown, re.M), name


@case
def pages_are_well_formed():
    pages = os.listdir(os.path.join(TREE, 'docs', 'man'))
    assert len(pages) >= 10
    for name in pages:
        page = os.path.join(TREE, 'docs', 'man', name)
        try:
            out = subprocess.run(['man', '--warnings=w', '-l', page],
                                 stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE,
                                 env=dict(os.environ, LC_ALL='C.UTF-8',
                                          MANROFFSEQ='', MANWIDTH='80'))
        except FileNotFoundError:
            skip('man is not installed')
        same((out.returncode, out.stderr), (0, b''))
        assert b'EXIT STATUS' in out.stdout or name[-2:] in ('.5', '.7')


if __name__ == '__main__':
    main()
