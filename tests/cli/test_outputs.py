#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Formats for other tools: where dlog-read writes them, and when not."""

import os
import resource
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from cli import ENV, READ, case, fails, path, read, region, run, same  # noqa: E402
from lib.case import main, skip  # noqa: E402

BOOT = 'boot x\ntext 6 1 one\ntext 6 2 two\n'
DIRECTORIES = ('ctf', 'pstore')


def tree(top):
    return sorted(os.path.relpath(os.path.join(where, name), top)
                  for where, _, names in os.walk(top) for name in names)


@case
def a_new_file():
    g = region(BOOT)
    out = path('out')
    r = read('-o', 'cat', '-w', out, g)
    same((r.code, r.out, r.err), (0, '', ''))
    same(open(out).read(), 'one\ntwo\n')
    same(os.stat(out).st_mode & 0o777, 0o600)
    fails(read('-w', out, g), 2, out, 'left alone', '--force')
    same(open(out).read(), 'one\ntwo\n')
    same(read('-o', 'cat', '-n1', '-w', out, '--force', g).code, 0)
    same(open(out).read(), 'two\n')
    same(sorted(os.listdir(path(''))), ['guest.img', 'out'])


@case
def a_new_directory():
    g = region(BOOT + 'status 4 3\n')
    for name in DIRECTORIES:
        out = path(name)
        same(read('-o', name, '-w', out, g).code, 0)
        had = tree(out)
        assert had
        fails(read('-o', name, '-w', out, g), 2, out, 'not empty', '--force')
        same(read('-o', name, '-w', out + '/', '--force', g).code, 0)
        same(tree(out), had)
        # an empty one is as good as none
        os.mkdir(path('empty'))
        same(read('-o', name, '-w', path('empty'), g).code, 0)
        same(tree(path('empty')), had)
        # what is not its own stays, whole
        open(os.path.join(path('empty'), 'letter'), 'w').close()
        fails(read('-o', name, '-w', path('empty'), '--force', g), 2,
              'other things')
        same(tree(path('empty')), sorted(had + ['letter']))
        run('rm', '-r', path('empty'))
    same(sorted(os.listdir(path(''))), sorted(DIRECTORIES + ('guest.img',)))


@case
def not_in_the_way():
    """Links, regions, files for directories: nothing is touched."""
    g = region(BOOT)
    before = open(g, 'rb').read()
    fails(read('-w', g, '--force', g), 2, 'is a region')
    same(open(g, 'rb').read(), before)
    os.mkdir(path('dir'))
    open(path('file'), 'w').close()
    for target in ('dir', 'file', 'nowhere'):
        os.symlink(target, path('link'))
        for name in ('json',) + DIRECTORIES:
            fails(read('-o', name, '-w', path('link'), '--force', g), 2,
                  'symbolic link')
        os.unlink(path('link'))
    fails(read('-w', path('dir'), '--force', g), 2, 'no file')
    for name in DIRECTORIES:
        fails(read('-o', name, '-w', path('file'), '--force', g), 2,
              'no directory')
        fails(read('-o', name, '-w', path('no/where'), g), 2, 'no/where')
    same(sorted(os.listdir(path(''))), ['dir', 'file', 'guest.img'])


@case
def what_goes_together():
    g = region(BOOT)
    for name in DIRECTORIES:
        fails(read('-o', name, g), 2, name, '-w DIR')
        fails(read('-f', '-o', name, '-w', path('x'), g), 2, name,
              'cannot follow')
        for mode in ('--stats', '--list-boots', '--check', '--regs'):
            fails(read(mode, '-o', name, '-w', path('x'), g), 2, name)
    fails(read('--stats', '-o', 'export', g), 2, 'export')
    fails(read('-f', '-w', path('x'), g), 2, '-w', '-f')
    fails(read('--stats', '-w', path('x'), g), 2, '-w')
    fails(read('--force', g), 2, '-w')
    fails(read('-o', 'pstore', '-w', path('x'), g, g), 2, 'one file')
    same(os.listdir(path('')), ['guest.img'])
    help_text = read('--help').out
    for name in DIRECTORIES + ('export',):
        assert ' %s ' % name in help_text, name
        assert name in read('-o', 'xml', g).err


def interrupted(number, *args):
    """Exit status of a run that is sent a signal while it writes, and what is
    there then."""
    had = set(os.listdir(path('')))
    p = subprocess.Popen([READ, *args], env=ENV, stderr=subprocess.PIPE)
    end = time.monotonic() + 20
    while set(os.listdir(path(''))) == had and time.monotonic() < end:
        pass
    p.send_signal(number)
    same(p.communicate(timeout=20)[1], b'')
    return p.returncode, sorted(set(os.listdir(path(''))) - had)


@case
def a_signal():
    """Nothing is left, and who started it sees the signal."""
    g = region('size 33554432\nrings 1\nboot x\nfill 400000 6 0 %s\n'
               'status 4 9\n' % ('line ' * 10))
    for name in DIRECTORIES + ('json',):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP,
                       signal.SIGPIPE):
            same(interrupted(number, '-o', name, '-w', path('out'), g),
                 (-number, []))
    # one that is ignored stays so
    p = subprocess.Popen(['sh', '-c', 'trap "" HUP; "$@"', 'sh', READ, '-o',
                          'json', '-w', path('out'), g], env=ENV)
    while len(os.listdir(path(''))) < 2:
        pass
    os.kill(int(run('pgrep', '-P', str(p.pid)).out or p.pid), signal.SIGHUP)
    same(p.wait(60), 0)
    same(sorted(os.listdir(path(''))), ['guest.img', 'out'])


@case
def a_full_disk():
    """An error, and nothing that could be taken for the whole."""
    if os.geteuid():
        skip('needs root, for a small file system')
    g = region('size 4194304\nrings 1\nboot x\nfill 30000 6 0 %s\n'
               'status 4 9\n' % ('line ' * 10))
    os.mkdir(path('disk'))
    for name in DIRECTORIES + ('export', 'json', 'text'):
        r = run('unshare', '-m', '--propagation', 'private', 'sh', '-c', '''
            mount -t tmpfs -o size=256k none "$1" || exit 77
            "$2" -o "$3" -w "$1/out" "$4"
            code=$?
            ls -A "$1"
            exit $code''', 'sh', path('disk'), READ, name, g)
        if r.code == 77:
            skip('no tmpfs: ' + r.err)
        fails(r, 2, 'No space left')


@case
def a_limited_file():
    """Beyond the limit of a file's size it is an error, too: no signal."""
    g = region('size 4194304\nrings 1\nboot x\nfill 30000 6 0 %s\n'
               'status 4 9\n' % ('line ' * 10))
    for name in DIRECTORIES + ('export', 'json', 'text'):
        r = run(READ, '-o', name, '-w', path('out'), g,
                preexec_fn=lambda: resource.setrlimit(
                    resource.RLIMIT_FSIZE, (256 << 10, 256 << 10)))
        fails(r, 2, 'File too large')
        same(os.listdir(path('')), ['guest.img'])


if __name__ == '__main__':
    main()
