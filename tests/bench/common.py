# SPDX-License-Identifier: GPL-2.0-or-later
"""What all parts of the benchmark share: places, progress, programs to build.

Relies on `make setup` and `make all`.  DLOG_BUILD names another build folder.
"""

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(TREE, os.environ.get('DLOG_BUILD') or 'build')
BIN = os.path.join(BUILD, 'bin')
OUT = os.path.join(BUILD, 'bench')
KERNEL = '6.1'


class BenchError(Exception):
    """What failed, and what to do."""


def say(text):
    print('bench: ' + text, flush=True)


def run(args, **kwargs):
    """A program that has to succeed; gives what it printed."""
    done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          **kwargs)
    if done.returncode:
        raise BenchError('status %d from %s\n%s' % (
            done.returncode, ' '.join(args),
            (done.stdout + done.stderr).decode('utf-8', 'replace')[-4000:]))
    return done.stdout.decode('utf-8', 'replace')


def program(name):
    """Path of one of ours, or what to do about it."""
    path = os.path.join(BIN, name)
    if not os.path.exists(path):
        raise BenchError('no %s: run make first' % path)
    return path


@functools.lru_cache
def compile_c(name, *more):
    """Builds tests/bench/NAME.c, with the project's own flags, no -march."""
    os.makedirs(OUT, exist_ok=True)
    target = os.path.join(OUT, name)
    run([os.environ.get('CC') or 'gcc', '-std=gnu11', '-O2', '-Wall',
         '-Wextra', '-Wshadow', '-Wstrict-prototypes', '-Werror',
         '-D_GNU_SOURCE', '-I', os.path.join(TREE, 'shared-abi'), '-o',
         target, os.path.join(HERE, name + '.c'), *more])
    return target


@functools.lru_cache
def compile_modules():
    """The measuring modules, for Debian 12's kernel."""
    source = os.path.join(BUILD, 'guest', KERNEL, 'src')
    folder = os.path.join(OUT, 'module')
    if not os.path.exists(os.path.join(source, 'Module.symvers')):
        raise BenchError('no modules in %s: run make guest first' % source)
    os.makedirs(OUT, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(os.path.join(HERE, 'module'), folder)
    kdir = run([os.path.join(TREE, 'tests/guest/mkguest'), 'info', KERNEL,
                'kdir']).strip()
    run(['make', '-s', '-C', kdir, 'M=' + folder, 'KCFLAGS=-Werror',
         'DLOG_INCLUDE=' + os.path.join(source, 'include'),
         'KBUILD_EXTRA_SYMBOLS=' + os.path.join(source, 'Module.symvers'),
         'modules'])
    return {'/%s.ko' % name: os.path.join(folder, name + '.ko')
            for name in ('dlogbench', 'dlogpeers', 'dlogtraced')}


def create_region(path, size, *more):
    run([program('dlog-create'), '-q', '-f', '-s', size, *more, path])


def scratch(need):
    """A folder in memory, so that no disk takes part, if there is room for
    that many bytes; else on disk."""
    shm = '/dev/shm'
    if os.path.isdir(shm) and shutil.disk_usage(shm).free > need \
            and available() > need + (1 << 30):
        return tempfile.TemporaryDirectory(dir=shm)
    return tempfile.TemporaryDirectory()


def available():
    with open('/proc/meminfo') as f:
        for line in f:
            if line.startswith('MemAvailable:'):
                return int(line.split()[1]) * 1024
    return 0


def timed(args):
    """Runs a program with its output thrown away: {'status': ..., 'wall',
    'cpu' in seconds, 'rss' in KiB}.

    By a small C program: what Python starts inherits Python's own peak."""
    return json.loads(run([compile_c('timed')] + args))


def best(count, args, by='cpu'):
    """The fastest of several runs."""
    return min((timed(args) for _ in range(count)), key=lambda r: r[by])


sys.path.insert(0, os.path.join(TREE, 'tests', 'scenarios'))
