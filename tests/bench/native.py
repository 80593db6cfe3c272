# SPDX-License-Identifier: GPL-2.0-or-later
"""The writer in user space, beside the floor and LTTng-UST's flight recorder.

Relies on tests/bench/native.c, and for the peer on Debian's lttng-tools and
liblttng-ust-dev.
"""

import contextlib
import os
import shutil
import subprocess
import time

from common import HERE, OUT, BenchError, compile_c, create_region, run, say, \
    scratch
from table import Missing, Row


def build_provider():
    """Path of the LTTng provider, or Missing."""
    for tool in ('lttng', 'lttng-sessiond'):
        if not shutil.which(tool):
            raise Missing('lttng-tools')
    if subprocess.run(['pkg-config', '--exists', 'lttng-ust'],
                      check=False).returncode:
        raise Missing('liblttng-ust-dev')
    path = os.path.join(OUT, 'provider.so')
    folder = os.path.join(HERE, 'lttng')
    run(['gcc', '-O2', '-shared', '-fPIC', '-I', folder, '-o', path,
         os.path.join(folder, 'provider.c'), '-llttng-ust', '-ldl'])
    return path


def lttng(*args):
    run(['lttng', '--quiet', '--no-sessiond'] + list(args))


@contextlib.contextmanager
def flight_recorder(folder):
    """An LTTng session in overwrite mode with as much memory for each CPU as
    a ring of the default region has.  A session daemon that runs already is
    used and left alone."""
    os.environ['LTTNG_HOME'] = folder
    daemon = None
    session = 'dlogbench-%d' % os.getpid()
    try:
        if subprocess.run(['lttng', '--no-sessiond', 'list'], check=False,
                          stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).returncode:
            daemon = subprocess.Popen(['lttng-sessiond', '--no-kernel',
                                       '--quiet'])
        create = ['create', '--snapshot', session, '--output',
                  os.path.join(folder, 'out')]
        for left in range(50, -1, -1):
            try:
                lttng(*create)
                break
            except BenchError:
                if not left or daemon and daemon.poll() is not None:
                    raise
                time.sleep(0.1)
        try:
            lttng('enable-channel', '-s', session, '-u', '--overwrite',
                  '--subbuf-size=1M', '--num-subbuf=4', 'c')
            lttng('enable-event', '-s', session, '-u', '-c', 'c',
                  'dlogbench:*')
            lttng('start', session)
            yield
        finally:
            lttng('destroy', session)
    finally:
        if daemon:
            daemon.terminate()
            daemon.wait(30)


def measured():
    """{name: figure} of native.c, and why LTTng's are not there."""
    native = compile_c('native', '-ldl', '-lpthread')
    with scratch(64 << 20) as folder:
        region = os.path.join(folder, 'region')
        create_region(region, '16M')
        why = ''
        try:
            provider = build_provider()
        except Missing as err:
            why = str(err)
            text = run([native, region])
        else:
            with flight_recorder(folder):
                text = run([native, region, provider], env=dict(
                    os.environ, LTTNG_UST_REGISTER_TIMEOUT='-1'))
    return {name: float(value) for name, value in
            (line.split() for line in text.splitlines())}, why


def costs():
    say('the writer in user space, and LTTng-UST: a few seconds')
    f, why = measured()
    ours, floor = f['text64'], f['floor']
    peers, times = {'lttng': why}, None
    if not why:
        peers = {name + '_ns': f[name]
                 for name in ('lttng_array', 'lttng_string')}
        times = min(peers.values()) / ours
    rows = [
        Row('native_vs_floor', 'times', ours / floor, 2.5,
            peers={'floor_ns': floor}, note='%.1f ns' % ours),
        Row('native_vs_lttng', 'times', times, 3, more=True,
            peers=peers,
            note='%.1f ns; how many times cheaper than the cheaper one' % ours),
    ]
    if 'duo' in f:
        rows.append(Row('scaling_2cpu', 'times', f['duo'] / f['solo'], 1.9,
                        more=True, peers={'floor': f['floor_duo']
                                          / f['floor_solo']},
                        note='%.0f and %.0f M records/s'
                        % (f['solo'], f['duo'])))
    else:
        rows.append(Row('scaling_2cpu', 'times', None, 1.9, more=True,
                        note='this machine has one CPU'))
    return rows
