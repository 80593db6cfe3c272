#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Incidents of dlogd as a whole: simulated guests, and real ones that hang
and panic.  What needs a VMM that misbehaves or a full disk is in
test_incident.c.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))), 'scenarios'))

from lib.case import case, main, until  # noqa: E402 (needs the path above)
from lib.world import BIN, entries, tool  # noqa: E402
from daemon import DLOGD  # noqa: E402
from kept import Kept, Watched, incident  # noqa: E402


def same_log(bundle):
    """log.txt and log.json are what dlog-read says of the region's copy."""
    about = incident(bundle)
    for name, args in (('log.txt', ()), ('log.json', ('-o', 'json'))):
        expected = subprocess.run(
            [os.path.join(BIN, 'dlog-read'), '-q', '-b', str(about['boot']),
             '-n', '20000', *args, 'region.img'], cwd=bundle,
            env=dict(os.environ, LC_ALL='C.UTF-8'), stdout=subprocess.PIPE,
            check=True).stdout
        with open(os.path.join(bundle, name), 'rb') as f:
            assert f.read() == expected and expected, name


@case
def panic_of_a_simulated_guest():
    with Kept() as place:
        sims = place.sims('--rate', '100', '--qmp')
        dlogd = place.watch()
        dlogd.wait_line('QMP at .*, running')
        sims.do('panic sim0')
        bundle = place.wait_bundle('sim0', 'panicked')
        about = incident(bundle)
        assert about['complete'] and about['event'] == 'panicked', about
        assert about['guest'] == 'sim0' and about['boot'] == 1
        assert not about['missing'], about
        same_log(bundle)
        with open(os.path.join(bundle, 'log.json'), 'rb') as f:
            last = json.loads(f.read().splitlines()[-1])
        truth = list(entries(place.region('sim0')))[-1]
        assert last['text'] == truth['text'], (last, truth)
        dlogd.wait_line('evidence in ' + re.escape(bundle))
        assert dlogd.stop() == 0


@case
def killed_while_writing_a_bundle():
    """A dlog-read that never ends keeps the bundle half-written."""
    with Kept() as place:
        sims = place.sims()
        slow = place.path('bin')
        os.mkdir(slow)
        shutil.copy(DLOGD, slow)
        place.write('bin/dlog-read', '#!/bin/sh\nexec sleep 300\n')
        os.chmod(os.path.join(slow, 'dlog-read'), 0o755)
        dlogd = place.watch(program=os.path.join(slow, 'dlogd'))
        sims.do('panic sim0')
        half = until('half a bundle', lambda: place.listed('sim0'), 20)
        until('the copy',
              lambda: os.path.exists(os.path.join(place.bundle_dir, 'sim0',
                      half[0], 'log.txt')),
              20)
        assert [name[0] for name in place.listed('sim0')] == ['.']
        children = subprocess.run(
            ['pgrep', '-P', str(dlogd.pid)], stdout=subprocess.PIPE,
            text=True).stdout.split()
        assert children
        dlogd.process.kill()
        dlogd.process.wait()
        assert place.bundles('sim0') == []
        until('its children to end',
              lambda: not [pid for pid in children
                      if os.path.exists('/proc/' + pid)],
              20)
        place.watch()
        assert half[0] not in place.listed('sim0')
        # It takes the evidence it did not take before.
        assert incident(place.wait_bundle('sim0', 'panicked'))['complete']


@case
def bundles_are_found_again():
    with Kept() as place:
        sims = place.sims('--guests', '3')
        dlogd = place.watch()
        for n in range(3):
            sims.do('panic sim%d' % n)
            place.wait_bundle('sim%d' % n, 'panicked')
        assert dlogd.stop() == 0
        place.watch(config='[incidents]\nmax = 2\n')
        assert [len(place.bundles('sim%d' % n)) for n in range(3)] == [0, 1, 1]


@case
def hung_guest_in_three_heartbeats():
    with Watched(smp=2, size='16M') as w:
        w.load_driver()
        w.load_test()
        w.guest.must('echo before the hang > /dev/kmsg')
        time.sleep(3)           # so that dlogd has seen it alive
        assert w.place.listed('region') == []
        old = tool('dlog-read', '--regs', w.region)
        begin = time.monotonic()
        w.die('hang-all')
        bundle = w.place.wait_bundle('region', 'hung')
        took = time.monotonic() - begin
        about = incident(bundle)
        print('bundle %.2f s after the hang was asked for; the incident took '
              '%d ms' % (took, about['took_ms']))
        assert about['complete'] and not about['missing'], about
        assert about['cpus'] == {'online': '0-1', 'registers': '0-1',
                                 'stacks': '0-1', 'silent': ''}, about
        assert took < 3, took
        same_log(bundle)
        stacks = [e['text'] for e in entries(
            os.path.join(bundle, 'region.img'), '-t', 'stack')]
        assert len(stacks) == 2 and all('hang' in s for s in stacks), stacks
        with open(os.path.join(bundle, 'guest-registers.txt'), 'rb') as f:
            assert f.read() not in (b'', old)
        with open(os.path.join(bundle, 'registers.txt')) as f:
            text = f.read()
        assert text.count('RIP=') == 2, text
        with open(os.path.join(bundle, 'log.txt')) as f:
            assert 'before the hang' in f.read()
        with open(os.path.join(bundle, 'host.json')) as f:
            assert json.load(f)['vmm']['process']['pid'] == w.guest.pid()


@case
def panicked_guest_is_reset_by_policy():
    config = '[policy]\npanicked = evidence dump reset\n'
    with Watched(config, qemu_args=['-device', 'pvpanic', '-action',
                                    'panic=pause']) as w:
        w.load_driver()
        w.load_test()
        w.guest.must('modprobe pvpanic; modprobe pvpanic-mmio || true')
        time.sleep(2)
        w.die('panic')
        bundle = w.place.wait_bundle('region', 'panicked')
        w.guest.wait_ready()
        w.guest.must('true')
        about = until('the reset to be noted',
                      lambda: [a for a in [incident(bundle)]
                              if a['actions'][-1]['result'] != 'pending'],
                      20)[0]
        assert [(a['action'], a['result']) for a in about['actions']] == [
            ('evidence', 'done'), ('dump', 'done'), ('reset', 'done')], about
        # The one that panicked at least: no NMI was asked for.
        assert about['cpus']['registers'], about
        with open(os.path.join(bundle, 'log.txt')) as f:
            assert 'panic asked for' in f.read()
        with open(os.path.join(bundle, 'memory.elf'), 'rb') as f:
            assert f.read(4) == b'\x7fELF'
        with open(os.path.join(bundle, 'qmp.jsonl')) as f:
            events = [json.loads(line)['event'] for line in f]
        assert 'GUEST_PANICKED' in [e.get('event') for e in events], events
        assert w.load_driver() == 2


if __name__ == '__main__':
    main()
