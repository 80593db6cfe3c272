# SPDX-License-Identifier: GPL-2.0-or-later
"""What the QEMU plugin costs: CPU time of a boot of Debian's kernel by SeaBIOS
under TCG, as a ratio to the same boot without the plugin.

Relies on tests/scenarios/lib for guests.  Rounds of all variants in turns; each
variant's figure is its least, so that a disturbance hits nobody alone.
"""

import os

from common import BUILD, KERNEL, BenchError, program, run, say, scratch
from lib.guest import Guest
from lib.image import Kernel, cache_dir
from table import Row

ROUNDS = 5
PLUGIN = os.path.join(BUILD, 'lib/libdlog-plugin.so')
# What somebody who debugs a kernel asks for: rare, common and very common.
FUNCTIONS = ('do_sys_openat2', 'vfs_read', 'vfs_write', 'do_exit',
             'kernel_clone', 'begin_new_exec', 'handle_mm_fault', 'schedule',
             'do_mmap', 'wake_up_process')
TARGETS = {'idle': 1.05, 'probes10': 1.1, 'blocks': 2.0, 'stores': None}


def boot(qemu, args, region):
    """CPU seconds of QEMU until there is a shell."""
    more = [] if args is None else ['-plugin', PLUGIN + args]
    with Guest(kernel=KERNEL, smp=1, firmware='seabios', qemu=qemu,
               qemu_args=more,
               qemu_prefix=[program('dlog-qemu'), '--qmp=none', region,
                            '--']) as guest:
        with open('/proc/%d/stat' % guest.pid()) as f:
            # The name may hold anything, but ends with the last ')'.
            words = f.read().rpartition(')')[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf('SC_CLK_TCK')


def variants(folder):
    symbols = os.path.join(folder, 'System.map')
    with open(symbols, 'w') as f:
        f.write(run([program('dlog-core'), '--symbols',
                     Kernel(KERNEL).bzimage]))
    probes = os.path.join(folder, 'probes')
    with open(probes, 'w') as f:
        for name in FUNCTIONS:
            f.write('exec %s %s\n' % (name, name))
    region = os.path.join(folder, 'plugin')
    run([program('dlog-create'), '--size=16M', '--rings=3', region])
    base = ',region=' + region
    return {
        'none': None,
        'idle': base,
        'probes10': '%s,symbols=%s,probes=%s' % (base, symbols, probes),
        'blocks': base + ',blocks=on',
        'stores': '%s,watch=%s,trace-writes=on' % (
            base, os.path.join(folder, 'guest')),
    }


def least(folder, qemu):
    guest = os.path.join(folder, 'guest')
    all_args = variants(folder)
    times = {name: [] for name in all_args}
    for _ in range(ROUNDS):
        for name, args in all_args.items():
            times[name].append(boot(qemu, args, guest))
    return {name: min(all_) for name, all_ in times.items()}


def costs():
    qemus = {'7.2': None, '10': 'trixie'}
    trixie = os.path.join(cache_dir(), 'qemu-trixie/bin/qemu-system-x86_64')
    if not os.path.exists(trixie):
        raise BenchError('no %s: run tests/guest/setup trixie-qemu' % trixie)
    found = {}
    for version, qemu in qemus.items():
        say('%d boots under the plugin in QEMU %s: five minutes' %
            (5 * ROUNDS, version))
        with scratch(1 << 26) as folder:
            found[version] = least(folder, qemu)
    rows = []
    for name, target in TARGETS.items():
        ratio = {v: found[v][name] / found[v]['none'] for v in found}
        note = 'boot without it %.2f s of CPU, with it %.2f s' % (
            found['7.2']['none'], found['7.2'][name])
        rows.append(Row('plugin_' + name, 'times', max(ratio.values()), target,
                        peers={'qemu_7.2': ratio['7.2'],
                               'qemu_10': ratio['10']},
                        note=note + '; ours is the worse of the two QEMUs'))
    return rows
