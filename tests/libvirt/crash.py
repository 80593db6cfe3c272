#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Real guests die under a real libvirtd in every way that libvirt knows; the
region keeps the last words, dlogd says what happened, the hook is called as
FACTS of libvirt say, and nothing of ours is in the way.
"""

import json
import os
import signal
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import host  # noqa: E402 (needs the path above)
from host import BIN, Domain, Host, end, spawn  # noqa: E402
from lib.case import case, skip, until  # noqa: E402

LOG = '/run/dlogd.log'
WITH_BUNDLES = os.path.isdir(os.path.join(host.TREE,
                                          'host-tools/monitor/incident'))
MARK = 'last words of boot %d'


class Dlogd:
    """dlogd with libvirt as its only source."""

    def __init__(self, *args):
        if not os.path.exists(os.path.join(BIN, 'dlogd')):
            skip('dlogd is not built')
        self.position = 0
        self.process = spawn([os.path.join(BIN, 'dlogd'), '-v',
                              '--libvirt=qemu:///system',
                              '--state-dir=/run/dlogd', '--bundles=/run/bundles',
                              '--listen=none', *args], LOG)
        self.expect('qemu:///system: connected')

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind:
            with open(LOG) as f:
                sys.stderr.write(f.read())
        assert end(self.process) == 0 or kind
        os.unlink(LOG)

    def text(self):
        with open(LOG) as f:
            return f.read()

    def expect(self, words, timeout=30):
        """Waits for words behind those expected before; what lay between."""
        def find():
            assert self.process.poll() is None, 'dlogd has ended: ' + self.text()
            at = self.text().find(words, self.position)
            if at < 0:
                return None
            between = self.text()[self.position:at]
            self.position = at + len(words)
            return (between,)
        return until('dlogd to say %r in\n%s' % (words, self.text()),
                     find, timeout)[0]


def last_words(guest, boot):
    guest.must("echo '%s' > /dev/kmsg" % (MARK % boot))


def check_panic(guest, boot):
    """The panic of that boot is in the region, behind its last words."""
    text = guest.texts(boot)
    assert MARK % boot in text, text[-500:]
    assert text.index('Kernel panic', text.index(MARK % boot)), text[-500:]


def check_bundle(line, boot):
    """The evidence is of that boot, and the next had not begun."""
    folder, _, missing = line.partition('; missing: ')
    # libvirt, at work on the panic itself, may not let anybody ask QEMU.
    assert missing in ('', 'registers.txt: Connection timed out'), missing
    with open(os.path.join(folder, 'stats.json')) as f:
        stats = json.load(f)
    assert stats['status'] == 'panic' and stats['boot'] == boot, stats
    with open(os.path.join(folder, 'log.txt')) as f:
        text = f.read()
    assert MARK % boot in text and 'Kernel panic' in text, text[-500:]
    with open(os.path.join(folder, 'qmp.jsonl')) as f:
        events = f.read()
    # dlogd sees the status word, perhaps before QEMU's GUEST_PANICKED.
    assert '"event":"RESUME"' in events, events
    # What QEMU is asked for may come after libvirt's reset; the driver's
    # registers do not.
    if not missing:
        with open(os.path.join(folder, 'registers.txt')) as f:
            assert 'CPU#1' in f.read()
    with open(os.path.join(folder, 'guest-registers.txt')) as f:
        assert 'rip' in f.read().lower()


def boots_again(guest, boot):
    guest.wait_ready()
    assert guest.record() == boot
    last_words(guest, boot)


@case
def panic_restarts_and_every_end_is_told():
    """One domain: panic with on_crash=restart, guest reboot, virsh reset,
    SIGKILL of QEMU, virsh destroy."""
    with Host(hook=True) as h, Dlogd() as d, \
            Domain(h, on_crash='restart') as guest:
        d.expect('guest web1: started')
        assert guest.record() == 1
        d.expect('guest web1: booted')
        last_words(guest, 1)
        calls = h.calls()
        assert calls == [['web1', *c.split()] for c in (
            'prepare begin -', 'start begin -', 'started begin -')], calls

        guest.panic()
        d.expect('guest web1: panicked')
        if WITH_BUNDLES:
            d.expect('guest web1: panicked: evidence in ')
            check_bundle(d.text()[d.position:].splitlines()[0], 1)
        boots_again(guest, 2)
        check_panic(guest, 1)
        d.expect('guest web1: booted')

        guest.sh_nowait('reboot -f')
        d.expect('guest web1: reboot')
        boots_again(guest, 3)
        assert MARK % 2 in guest.texts(2)
        between = d.expect('guest web1: booted')
        assert 'web1: reset\n' not in between and 'reboot' not in between, \
            between

        h.virsh('reset', 'web1')
        d.expect('guest web1: reset')
        boots_again(guest, 4)
        between = d.expect('guest web1: booted')
        assert 'web1: reset\n' not in between, between
        # None of these calls a hook.
        assert h.calls() == []

        os.kill(guest.pid(), signal.SIGKILL)
        d.expect('guest web1: vmm-gone')
        guest.wait_state('shut off')
        assert MARK % 4 in guest.texts(4)
        until('the hook',
              lambda: os.path.exists(host.CALLS)
                      and 'release' in open(host.CALLS).read(),
              30)
        calls = h.calls()
        assert calls == [['web1', *c.split()] for c in (
            'stopped end -', 'release end -')], calls
        guest._reap()

        guest.start(wait=False)
        d.expect('guest web1: started')
        h.virsh('destroy', 'web1')
        d.expect('guest web1: shutdown')
        time.sleep(1)
        assert 'vmm-gone' not in d.text()[d.position:]
        boots = guest.boots()
        assert [b['boot'] for b in boots] == [1, 2, 3, 4], boots
        assert [b['status'] for b in boots[:3]] == \
            ['panic', 'reboot', 'running'], boots


def crash_once(on_crash, state, said):
    """A panic with that on_crash, in a domain of its own; the domain's end is
    looked at by what is yielded."""
    with Host() as h, Dlogd() as d, Domain(h, on_crash=on_crash) as guest:
        assert guest.record() == 1
        last_words(guest, 1)
        guest.panic()
        d.expect('guest web1: panicked')
        guest.wait_state(state)
        for words in said:
            d.expect(words)
        assert 'vmm-gone' not in d.text()
        check_panic(guest, 1)
        yield h, d, guest


@case
def panic_preserves():
    for h, d, guest in crash_once('preserve', 'crashed (panicked)', ()):
        # Its memory stays to be looked at, and it can go on.
        h.virsh('reset', 'web1')
        h.virsh('resume', 'web1')
        d.expect('guest web1: reset')
        guest.wait_ready()
        assert guest.record() == 2


@case(long=True)
def panic_destroys():
    for _ in crash_once('destroy', 'shut off (crashed)',
                        ['guest web1: shutdown']):
        pass


@case(long=True)
def panic_dumps_core_and_destroys():
    for h, _, _ in crash_once('coredump-destroy', 'shut off (crashed)',
                              ['guest web1: shutdown']):
        dumps = os.listdir('/var/lib/libvirt/qemu/dump')
        assert len(dumps) == 1 and 'web1' in dumps[0], dumps


@case(long=True)
def the_region_by_commandline():
    """The same panic with the other mode."""
    with Host() as h, Domain(h, on_crash='restart',
                             attach=('--mode=commandline',)) as guest:
        assert guest.record() == 1
        last_words(guest, 1)
        guest.panic()
        boots_again(guest, 2)
        check_panic(guest, 1)


@case(long=True)
def libvirtd_goes_and_comes():
    """dlogd finds libvirtd again; what ended meanwhile is told."""
    with Host() as h, Dlogd() as d, Domain(h) as guest:
        guest.record()
        d.expect('guest web1: booted')
        h.stop('libvirtd')
        d.expect('connection is lost')
        h.start('libvirtd')
        d.expect('connected')
        time.sleep(1)
        assert 'vmm-gone' not in d.text()
        h.stop('libvirtd')
        d.expect('connection is lost')
        os.kill(guest.pid(), signal.SIGKILL)
        h.start('libvirtd')
        d.expect('connected')
        d.expect('guest web1: vmm-gone')


if __name__ == '__main__':
    host.main()
