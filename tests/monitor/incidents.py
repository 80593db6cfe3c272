#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Incidents of dlogd as a whole: simulated guests, and real ones that hang
and panic.  What needs a VMM that misbehaves or a full disk is in
test_incident.c.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))), 'scenarios'))

from lib.case import case, main  # noqa: E402 (needs the path above)
from lib.world import BIN, BUILD, World, entries, tool  # noqa: E402


def wait_for(what, condition, timeout=20):
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < deadline, 'not within %d s: %s' % (
            timeout, what)
        time.sleep(0.01)


class Monitor:
    """dlogd over one directory of regions, with a state directory and a
    configuration of its own."""

    def __init__(self, regions, config='', program=None):
        self.folder = tempfile.mkdtemp(prefix='dlogd-test-')
        self.regions = regions
        self.program = program or os.path.join(BIN, 'dlogd')
        self.config = os.path.join(self.folder, 'dlogd.conf')
        self.bundle_dir = os.path.join(self.folder, 'bundles')
        self.process = None
        with open(self.config, 'w') as f:
            f.write(config)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, value, trace):
        self.stop()
        if kind:
            print(self.said())
        shutil.rmtree(self.folder)

    def start(self, program=None):
        self.log = open(os.path.join(self.folder, 'log'), 'ab')
        self.process = subprocess.Popen(
            [program or self.program, '-v', '-c', self.config, '--regions',
             self.regions, '--state-dir', os.path.join(self.folder, 'state'),
             '--bundles', self.bundle_dir, '--listen', 'none', '--control',
             'none'], stdin=subprocess.DEVNULL, stdout=self.log,
            stderr=self.log)
        self.log.close()

    def stop(self, how=signal.SIGTERM):
        if self.process:
            self.process.send_signal(how)
            status = self.process.wait(30)
            self.process = None
            assert status == (0 if how == signal.SIGTERM else -how), status

    def said(self):
        with open(os.path.join(self.folder, 'log'), errors='replace') as f:
            return f.read()

    def listed(self, guest):
        try:
            return sorted(os.listdir(os.path.join(self.bundle_dir, guest)))
        except FileNotFoundError:
            return []

    def bundles(self, guest, event=''):
        """Bundles that can be seen, oldest first, as paths."""
        return [os.path.join(self.bundle_dir, guest, name)
                for name in self.listed(guest)
                if not name.startswith('.') and '-%s' % event in name]

    def wait_bundle(self, guest, event, timeout=20):
        return wait_for('a bundle of %s, %s\n%s' % (guest, event, self.said()),
                        lambda: self.bundles(guest, event), timeout)[-1]


class Simulated:
    """Guests of tests/tools/simguests.c."""

    def __init__(self, *args):
        self.folder = tempfile.mkdtemp(prefix='dlogd-sim-')
        self.process = subprocess.Popen(
            [os.path.join(BUILD, 'tests/simguests'), self.folder, '--qmp',
             *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == 'ready\n'

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        shutil.rmtree(self.folder)

    def tell(self, command):
        self.process.stdin.write(command + '\n')
        self.process.stdin.flush()
        assert self.process.stdout.readline() == 'ok\n', command


def incident(bundle):
    with open(os.path.join(bundle, 'incident.json')) as f:
        return json.load(f)


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
    with Simulated('--rate', '100') as sim, Monitor(sim.folder) as monitor:
        wait_for('the guest', lambda: 'sim0' in monitor.said())
        sim.tell('panic sim0')
        bundle = monitor.wait_bundle('sim0', 'panicked')
        about = incident(bundle)
        assert about['complete'] and about['event'] == 'panicked', about
        assert about['guest'] == 'sim0' and about['boot'] == 1
        same_log(bundle)
        with open(os.path.join(bundle, 'log.json'), 'rb') as f:
            last = json.loads(f.read().splitlines()[-1])
        truth = list(entries(os.path.join(sim.folder, 'sim0.img')))[-1]
        assert last['text'] == truth['text'], (last, truth)
        assert 'evidence in ' + os.path.realpath(bundle) in monitor.said()


@case
def killed_while_writing_a_bundle():
    """A dlog-read that never ends keeps the bundle half-written."""
    with Simulated() as sim:
        monitor = Monitor(sim.folder)
        slow = os.path.join(monitor.folder, 'bin')
        os.mkdir(slow)
        shutil.copy(os.path.join(BIN, 'dlogd'), slow)
        with open(os.path.join(slow, 'dlog-read'), 'w') as f:
            f.write('#!/bin/sh\nexec sleep 300\n')
        os.chmod(os.path.join(slow, 'dlog-read'), 0o755)
        monitor.program = os.path.join(slow, 'dlogd')
        with monitor:
            wait_for('the guest', lambda: 'sim0' in monitor.said())
            sim.tell('panic sim0')
            half = wait_for('half a bundle', lambda: monitor.listed('sim0'))
            wait_for('the copy', lambda: os.path.exists(os.path.join(
                monitor.bundle_dir, 'sim0', half[0], 'log.txt')))
            assert [name[0] for name in monitor.listed('sim0')] == ['.']
            pid = monitor.process.pid
            children = subprocess.run(
                ['pgrep', '-P', str(pid)], stdout=subprocess.PIPE,
                text=True).stdout.split()
            assert children
            monitor.stop(signal.SIGKILL)
            assert monitor.bundles('sim0') == []
            wait_for('its children to end', lambda: not [
                pid for pid in children if os.path.exists('/proc/' + pid)])
            monitor.start(os.path.join(BIN, 'dlogd'))
            wait_for('its removal',
                     lambda: half[0] not in monitor.listed('sim0'))
            # It takes the evidence it did not take before.
            assert incident(monitor.wait_bundle('sim0', 'panicked'))[
                'complete']


@case
def bundles_are_found_again():
    with Simulated('--guests', '3') as sim, Monitor(sim.folder) as monitor:
        wait_for('the guests', lambda: 'sim2' in monitor.said())
        for n in range(3):
            sim.tell('panic sim%d' % n)
            monitor.wait_bundle('sim%d' % n, 'panicked')
        monitor.stop()
        with open(monitor.config, 'w') as f:
            f.write('[incidents]\nmax = 2\n')
        monitor.start()
        wait_for('the oldest to go', lambda: not monitor.bundles('sim0'))
        assert len(monitor.bundles('sim1')) == 1
        assert len(monitor.bundles('sim2')) == 1


class Watched(World):
    """A real guest under dlogd, as guest "region"."""

    def __init__(self, config='', **world):
        super().__init__(qemu_args=world.pop('qemu_args', ()), **world)
        socket = os.path.join(self.folder, 'region.qmp')
        self.guest.qemu_args += ['-qmp', 'unix:%s,server=on,wait=off' % socket]
        self.monitor = Monitor(self.folder, config)

    def __enter__(self):
        super().__enter__()
        self.monitor.start()
        return self

    def __exit__(self, *args):
        self.monitor.__exit__(*args)
        super().__exit__(*args)


@case
def hung_guest_in_three_heartbeats():
    with Watched(smp=2, size='16M') as w:
        w.load_driver()
        w.load_test()
        w.guest.must('echo before the hang > /dev/kmsg')
        time.sleep(3)           # so that dlogd has seen it alive
        assert w.monitor.listed('region') == [], w.monitor.said()
        old = tool('dlog-read', '--regs', w.region)
        begin = time.monotonic()
        w.die('hang-all')
        bundle = w.monitor.wait_bundle('region', 'hung')
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
        bundle = w.monitor.wait_bundle('region', 'panicked')
        w.guest.wait_ready()
        w.guest.must('true')
        about = wait_for('the reset to be noted', lambda: [
            a for a in [incident(bundle)]
            if a['actions'][-1]['result'] != 'pending'])[0]
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
