#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Real guests die in every way, under full load from every context; then each
committed record is read from the file.

Every death is tried on pc with an nvdimm and the fast PVH boot; the other
machines, firmwares, placements and Debian 13's kernel are sampled.  Each reset
or kexec is followed by a second boot that goes on in the same file.  The full
product is in the long cases.
"""

import os
import random
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import case, main  # noqa: E402 (needs the path above)
from lib.world import World, entries  # noqa: E402

KEXEC_FILE = 'kexec -s -l /boot/bzImage --initrd=/boot/initrd --reuse-cmdline'
KEXEC_LOAD = 'kexec -c -l /boot/bzImage --initrd=/boot/initrd --reuse-cmdline'

# The next kernel shall have the files in /boot as well.
WHOLE_INITRD = ("cd / && printf '%s\\n' boot boot/bzImage boot/initrd | "
                'cpio -o -H newc > /boot.cpio && '
                'cat /boot/initrd /boot.cpio > /whole && rm /boot.cpio')


def sh(command):
    return lambda w: w.guest.sh_nowait(command)


def die(how):
    return lambda w: w.die(how)


def reset(w):
    w.guest.system_reset()


def kexec(load):
    def start(w):
        w.guest.must(load)
        w.guest.sh_nowait('kexec -e')
    return start


def kill(w):
    w.guest.kill9()


# What ends the guest, the status it leaves, and what the guest does then:
# 'boots' again, 'ends' or has 'ended' (QEMU too), 'stays' dead or hung in its QEMU, or only
# 'half' of it is hung: then QEMU is killed.
DEATHS = {
    'panic': (die('panic'), ('panic',), 'stays'),
    'panic_reboots': (die('panic'), ('panic',), 'boots'),
    'oops_in_irq': (die('oops-irq'), ('panic', 'oops'), 'stays'),
    'reboot_f': (sh('reboot -f'), ('reboot',), 'boots'),
    'sysrq_b': (sh('echo b > /proc/sysrq-trigger'), ('emergency restart',),
                'boots'),
    'system_reset': (reset, ('running',), 'boots'),
    'kexec_file': (kexec(KEXEC_FILE), ('kexec',), 'boots'),
    'kexec_load': (kexec(KEXEC_LOAD), ('kexec',), 'boots'),
    'hang_one': (die('hang-one'), ('running', 'hard lockup'), 'half'),
    'hang_all': (die('hang-all'), ('running',), 'stays'),
    'triple_fault': (die('triple'), ('running',), 'boots'),
    'poweroff': (sh('poweroff -f'), ('poweroff',), 'ends'),
    'sigkill': (kill, ('running',), 'ended'),
}


def settle(w, after):
    """Waits until the guest is dead, back or hung."""
    if after == 'ends':
        w.guest.wait_exit()
    elif after == 'boots':
        w.guest.wait_ready()
    elif after == 'half':
        time.sleep(2)
        w.guest.kill9()
    elif after == 'stays':
        before = None
        deadline = time.monotonic() + 60
        while w.committed() != before:
            assert time.monotonic() < deadline, 'the guest does not die'
            before = w.committed()
            time.sleep(1)


def try_death(name, seconds=1.0, **where):
    action, statuses, after = DEATHS[name]
    append = {'panic_reboots': 'panic=1', 'oops_in_irq': 'panic=0'}
    with World(append=append.get(name, ''), kexec=name.startswith('kexec'),
               **where) as w:
        w.start_load(seconds=seconds)
        action(w)
        settle(w, after)
        last = w.status() if after != 'boots' else None
        committed = w.committed()
        count = w.check(committed=committed)
        print('%d records back, of %d committed' % (
            count, sum(committed.values())))
        if after == 'boots':
            boot = w.load_driver()
            assert boot == w.boot + 1, 'boot %d after %d' % (boot, w.boot)
            last = w.end_status(w.boot)
            w.check(committed=committed)
            w.guest.must('echo "second life" > /dev/dlog-msg')
            assert any(e.get('text') == 'second life' and e['boot'] == boot
                       for e in entries(w.region))
        assert last in statuses, 'status %r' % last


def register(name, death, long=False, **where):
    def run():
        try_death(death, **where)
    run.__name__ = name
    case(run, long=long, timeout=240)


for _death in DEATHS:
    register(_death, _death, long=_death in ('kexec_load', 'sysrq_b'))

SAMPLES = {
    'q35_ovmf': {'machine': 'q35', 'firmware': 'ovmf'},
    'pc_seabios_ivshmem': {'firmware': 'seabios', 'placement': 'ivshmem'},
    'q35_seabios': {'machine': 'q35', 'firmware': 'seabios'},
    'q35_ovmf_ivshmem': {'machine': 'q35', 'firmware': 'ovmf',
                         'placement': 'ivshmem'},
    'ram': {'placement': 'ram'},
    'kernel_6_12': {'kernel': '6.12'},
}
SAMPLED = {'q35_ovmf': ('panic',),
           'pc_seabios_ivshmem': ('panic_reboots',),
           'q35_seabios': (),
           'q35_ovmf_ivshmem': (),
           'ram': (),
           'kernel_6_12': ('panic',)}

for _where, _args in SAMPLES.items():
    for _death in DEATHS:
        # kexec_load puts the kernel high into RAM, over a carved region.
        if _where == 'ram' and _death == 'kexec_load':
            continue
        register('%s_on_%s' % (_death, _where), _death,
                 long=_death not in SAMPLED[_where], **_args)


def generations(last):
    """Kernels, one after the other, in one file."""
    with World(kexec=True, size='8M', mem='1G') as w:
        truth = {}
        for generation in range(1, last + 1):
            w.boot = w.load_driver()
            assert w.boot == generation
            w.load_test()
            # Little enough that no boot is lapped by the later ones.
            w.start_load(contexts=15, pause_us=500, interval_us=20000,
                         seconds=1)
            load = KEXEC_FILE if generation % 2 else KEXEC_LOAD
            if generation < last:
                w.guest.must(WHOLE_INITRD)
                kexec(load.replace('/boot/initrd', '/whole'))(w)
                w.guest.wait_ready()
            else:
                w.guest.kill9()
            truth[generation] = (w.committed(), w.before)
        for generation, (committed, before) in truth.items():
            w.before = before
            w.check(boot=generation, committed=committed)


@case(long=True, timeout=900)
def kexec_generations():
    generations(6)


def instants(count, seed, how):
    """Kill or reset the guest count times at random instants under load."""
    rng = random.Random(seed)
    done = lost = 0
    while done < count:
        with World(size='1M' if done % 2 else '4M') as w:
            w.guest.must('true')
            resets = 0
            while resets < 12 and done < count:
                w.boot = w.load_driver()
                w.load_test()
                w.start_load(seconds=rng.uniform(0.001, 0.3))
                if how == 'sigkill':
                    w.guest.kill9()
                    w.check()
                    done += 1
                    break
                w.guest.system_reset()
                w.guest.wait_ready()
                w.check()
                done += 1
                resets += 1
        print('%d of %d' % (done, count), flush=True)
    print('%d random instants (%s), %d committed records lost'
          % (done, how, lost))


@case(timeout=300)
def sigkill_instants_few():
    instants(3, 1, 'sigkill')


@case(timeout=300)
def reset_instants_few():
    instants(3, 2, 'reset')


@case(long=True, timeout=3600)
def sigkill_instants():
    instants(70, 3, 'sigkill')


@case(long=True, timeout=3600)
def reset_instants():
    instants(140, 4, 'reset')


def stops(count, size, seed):
    """Stop the guest at random instants under full load, read, go on."""
    rng = random.Random(seed)
    shown = 0
    with World(size=size) as w:
        w.start_load()
        for done in range(count):
            time.sleep(rng.uniform(0, 0.004))
            w.guest.qmp('stop')
            shown += w.check()
            w.guest.qmp('cont')
            if done % 500 == 499:
                print('%d of %d' % (done + 1, count), flush=True)
    print('%d stops, %d records shown, 0 wrong' % (count, shown))


@case(timeout=600)
def stops_few():
    stops(100, '256K', 5)


@case(long=True, timeout=7200)
def stops_many():
    stops(10000, '256K', 6)


if __name__ == '__main__':
    main()
