#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""dlogd watches real guests: what it makes of each way to die, and of what is
none.  The guests are those of tests/scenarios."""

import os
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'scenarios'))
sys.path.insert(0, HERE)

from lib.case import case, main  # noqa: E402 (needs the path above)
from lib.world import World  # noqa: E402
from daemon import Place  # noqa: E402

GUEST = 'region'        # as World calls its region file
HARM = {'hung', 'vmm-gone', 'vmm-stuck', 'reset', 'panicked', 'lockup',
        'crash-loaded', 'watchdog'}


class Watched:
    """A guest with the driver loaded, a QMP socket for dlogd, and dlogd."""

    def __init__(self, launcher=(), **world):
        self.place = Place()
        self.world = World(
            launcher=['--qmp=' + self.place.path('regions', GUEST + '.qmp'),
                      *launcher], **world)

    def __enter__(self):
        self.place.__enter__()
        self.guest = self.world.guest
        # An ivshmem, as the oracle is one, keeps a guest from migrating.
        self.guest.qemu_args = []
        self.world.__enter__()
        self.load()
        self.d = self.place.dlogd('--qmp', self.world.folder)
        os.symlink(self.world.region, self.place.region(GUEST))
        self.d.wait_line('QMP at')
        time.sleep(2)       # some heartbeats
        return self

    def __exit__(self, kind, value, trace):
        self.world.__exit__(kind, value, trace)
        self.place.__exit__(kind, value, trace)

    def load(self):
        self.world.load_driver()
        self.guest.must('insmod /dlogtest.ko')

    def wait(self, event, timeout=30):
        return self.d.wait_event(GUEST, event, timeout)

    def harm(self):
        return [e for _, e in self.d.events() if e in HARM]


def stay_calm(w):
    """Everything that is no hang: pauses, a migration, a host that stalls,
    CPUs that go and come."""
    g = w.guest
    for pause in (0.3, 4):
        g.stop()
        time.sleep(pause)
        g.cont()
        time.sleep(1)
    w.wait('paused')
    w.wait('resumed')
    for pid, seconds in ((g.pid(), 10), (w.d.pid, 10)):
        os.kill(pid, 19)
        time.sleep(seconds)
        os.kill(pid, 18)
        time.sleep(3)
    g.must('echo 0 > /sys/devices/system/cpu/cpu1/online')
    time.sleep(4)
    g.must('echo 1 > /sys/devices/system/cpu/cpu1/online')
    # Saved to nowhere; the guest is paused at its end, then goes on.
    g.qmp('migrate', uri='exec:cat > /dev/null')
    deadline = time.monotonic() + 60
    while g.qmp('query-migrate').get('status') != 'completed':
        assert time.monotonic() < deadline, g.qmp('query-migrate')
        time.sleep(0.2)
    time.sleep(3)
    g.cont()
    time.sleep(3)
    assert w.harm() == [], w.harm()


@case(timeout=240)
def no_false_alarm_and_then_all_cpus_hang():
    with Watched() as w:
        stay_calm(w)
        w.guest.must('rmmod dlogtest && rmmod dlog')
        time.sleep(4)
        assert w.harm() == [], w.harm()
        w.load()
        time.sleep(3)
        began = time.monotonic()
        w.world.die('hang-all')
        when, detail = w.wait('hung')
        print('found %.2f s after it was told to hang' % (when - began))
        assert 'CPUs 0-1 (all)' in detail, detail
        assert when - began < 2.8, when - began
        # The operator's reset is the end of this hang, not another event.
        w.guest.system_reset()
        w.wait('reset')
        w.guest.wait_ready()
        w.world.load_driver()
        w.wait('booted')
        time.sleep(3)
        assert w.harm() == ['hung', 'reset'], w.harm()


@case(timeout=240)
def ways_to_boot_again():
    with Watched() as w:
        w.guest.sh_nowait('reboot -f')
        w.wait('reboot')
        w.guest.wait_ready()
        w.world.load_driver()
        w.wait('booted')
        w.guest.system_reset()
        assert 'host-qmp-system-reset' in w.wait('reset')[1]
        w.guest.wait_ready()
        w.world.load_driver()
        w.wait('booted')
        w.guest.must('insmod /dlogtest.ko')
        time.sleep(2)
        w.world.die('triple')
        assert 'without a word' in w.wait('reset')[1]
        w.guest.wait_ready()
        w.world.load_driver()
        w.wait('booted')
        assert w.harm() == ['reset', 'reset'], w.harm()
        w.guest.poweroff()
        assert 'by the guest' in w.wait('shutdown')[1]
        # The same guest once more.
        w.guest.start()
        w.wait('started')
        w.world.load_driver()
        w.wait('booted')
        w.guest.kill9()
        w.wait('vmm-gone')
        assert w.harm() == ['reset', 'reset', 'vmm-gone'], w.harm()


@case(timeout=240)
def one_cpu_hangs():
    with Watched() as w:
        began = time.monotonic()
        w.world.die('hang-one')
        when, detail = w.wait('hung')
        print('found %.2f s after it was told to hang' % (when - began))
        assert detail.startswith('CPU ') and '(all)' not in detail, detail
        assert when - began < 2.8, when - began
        w.guest.quit()
        w.wait('shutdown')
        assert w.harm() == ['hung'], w.harm()


@case(timeout=240)
def panics():
    """With pvpanic, as QEMU pauses on it, and without."""
    with Watched(launcher=['--on-panic=pause'],
                 modules=('pvpanic', 'pvpanic-mmio')) as w:
        w.guest.sh('modprobe pvpanic-mmio')
        w.world.die('panic')
        w.wait('panicked')
        time.sleep(5)
        assert w.harm() == ['panicked'], w.harm()
        # As the operator, or the policy, boots it again.
        w.guest.system_reset()
        w.guest.cont()
        w.wait('reset')
        w.guest.wait_ready()
        w.world.load_driver()
        w.wait('booted')
        w.guest.must('insmod /dlogtest.ko')
        time.sleep(2)
        w.guest.must('echo 1 > /proc/sys/kernel/panic')
        w.guest.sh('rmmod pvpanic-mmio')
        w.world.die('panic')
        w.wait('panicked')
        w.wait('reboot')
        w.guest.wait_ready()
        assert w.harm() == ['panicked', 'reset', 'panicked'], w.harm()


if __name__ == '__main__':
    main()
