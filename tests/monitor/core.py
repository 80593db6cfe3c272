#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""dlogd's own: configuration, guests that come and go, hostile QMP peers, and
what is a hang and what is none, with simulated guests."""

import array
import fcntl
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import termios
import threading
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'scenarios'))
sys.path.insert(0, HERE)

from lib.case import case, main, skip, until  # noqa: E402 (needs the path above)
from daemon import DLOGD, Place  # noqa: E402

BAD_EVENTS = {'hung', 'vmm-gone', 'vmm-stuck', 'reset', 'panicked', 'lockup'}


def run(*args):
    done = subprocess.run([DLOGD, *args], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=20)
    return done.returncode, done.stdout, done.stderr


# Command line and configuration

@case
def usage():
    status, out, err = run('--help')
    assert status == 0 and out.startswith('Usage: dlogd') and not err
    assert run('--version')[1].startswith('dlogd ')
    for args in (['--nonsense'], ['stray'], ['--regions']):
        status, out, err = run(*args)
        assert status == 2 and not out and err, (args, status, err)
    status, _, err = run('--check-config', '-c', '/nonexistent/dlogd.conf')
    assert status == 2 and '/nonexistent/dlogd.conf' in err, err


@case
def good_configuration():
    with Place() as p:
        conf = p.write('dlogd.conf', '''
# comment
[sources]
regions = /one
regions = /two
[policy]
panicked = nmi, evidence dump
reset = none
[incidents]
max-bytes = 5G
[hang]
periods = 2.5
[guest web-*]
hung = reset
rate = 10K
[guest db]
region = /elsewhere/db.img
[sink all]
type = json
path = /tmp/x
level = warning
''')
        status, out, err = run('--check-config', '-c', conf)
        assert (status, out, err) == (0, '', ''), (status, err)


@case
def every_mistake_is_told_with_its_line():
    mistakes = [
        '[nowhere]', 'stray = 1', '[sources]', 'regions = relative',
        '[policy]', 'panicked = explode', 'no-such-event = nmi', '[hang]',
        'periods = 1', 'periods = two', '[guest ../etc]', '[guest ok]',
        'rate = -1', 'nothing here', '[sink s/../s]', '[web', '[incidents]',
        'max = 0', 'max-bytes = 99999999999999T']
    wrong = {1, 4, 6, 7, 9, 10, 11, 13, 14, 15, 16, 18, 19}
    with Place() as p:
        conf = p.write('dlogd.conf', '\n'.join(mistakes) + '\n')
        os.mkdir(conf + '.d')
        p.write('dlogd.conf.d/10-x.conf', 'early = 1\n')
        p.write('dlogd.conf.d/20-x.conf', '[sink t]\n')
        p.write('dlogd.conf.d/30-x.conf.off', '[nonsense]\n')
        status, _, err = run('--check-config', '-c', conf)
        assert status == 2
        lines = {int(line.split(conf + ':')[1].split(':')[0])
                 for line in err.splitlines() if conf + ':' in line}
        assert lines == wrong, (sorted(lines ^ wrong), err)
        assert conf + '.d/10-x.conf:1:' in err
        assert 'conf.off' not in err
        # Guests and sinks are looked at as a whole once all is read.
        conf = p.write('other.conf', '[sink t]\n[guest a*]\nregion = /x\n')
        status, _, err = run('--check-config', '-c', conf)
        assert status == 2 and 'has no type' in err and 'pattern' in err, err


@case
def one_dlogd_for_each_state_directory():
    with Place() as p:
        p.dlogd()
        second = p.dlogd(ready=False)
        assert second.process.wait(10) == 1
        second.wait_line('another dlogd')


@case
def ends_and_reloads_on_signals():
    with Place() as p:
        os.mkdir(p.path('more'))
        conf = p.write('dlogd.conf', '')
        d = p.dlogd('-c', conf)
        p.write('dlogd.conf', '[guest late]\nregion = %s\n'
                % p.path('more', 'x'))
        d.process.send_signal(signal.SIGHUP)
        d.wait_line('configuration read again')
        p.create('late')
        d.wait_line('guest late: region')
        p.write('dlogd.conf', '[nonsense]\n')
        d.process.send_signal(signal.SIGHUP)
        d.wait_line(r'dlogd.conf:1: ')
        d.wait_line('stays as it was')
        p.create('later')
        d.wait_line('guest later: region')
        assert d.stop() == 0
        # QEMU gets through it to its region; what is ours in it is not for it.
        assert oct(os.stat(p.state).st_mode & 0o777) == '0o711'
        for name in os.listdir(p.state):
            assert not os.stat(os.path.join(p.state, name)).st_mode & 0o77, name


@case
def speaks_with_systemd():
    with Place() as p:
        path = p.path('notify')
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        s.bind(path)
        s.settimeout(10)
        os.environ.update(NOTIFY_SOCKET=path, WATCHDOG_USEC='1000000')
        try:
            d = p.dlogd(ready=False)
        finally:
            del os.environ['NOTIFY_SOCKET'], os.environ['WATCHDOG_USEC']
        seen = b''
        for word in (b'READY=1', b'WATCHDOG=1', b'RELOADING=1', b'READY=1',
                     b'STOPPING=1'):
            if word == b'RELOADING=1':
                d.process.send_signal(signal.SIGHUP)
            if word == b'STOPPING=1':
                d.process.terminate()
            while word not in seen:
                seen += s.recv(4096) + b'\n'
            seen = seen.split(word, 1)[1]
        assert d.process.wait(10) == 0
        assert all(line.startswith('<')
                   for line in d.text().splitlines()), d.text()


# Guests

@case
def found_and_lost_at_run_time():
    with Place() as p:
        p.create('first')
        d = p.dlogd()
        d.wait_line('guest first: region')
        p.create('second')
        d.wait_line('guest second: region')
        os.unlink(p.region('first'))
        d.wait_event('first', 'lost')
        os.rename(p.region('second'), p.region('renamed'))
        d.wait_event('second', 'lost')
        d.wait_line('guest renamed: region')
        # Replaced in place, as dlog-create --force does.
        p.create('spare')
        d.wait_line('guest spare: region')
        os.rename(p.region('spare'), p.region('renamed'))
        d.wait_line('guest renamed: region')
        # A directory that goes and comes back.
        os.rename(p.regions, p.path('away'))
        d.wait_event('renamed', 'lost')
        os.rename(p.path('away'), p.regions)
        d.wait_line('guest renamed: region')
        assert d.stop() == 0


@case
def what_is_no_region():
    with Place() as p:
        with open(p.region('text'), 'w') as f:
            f.write('nothing of that kind\n' * 5000)
        open(p.region('empty'), 'w').close()
        os.mkdir(p.region('folder'))
        os.mkfifo(p.region('fifo'))
        os.symlink(p.region('nowhere'), p.region('dangling'))
        open(p.region('bad name\x1b[31m'), 'w').close()
        p.create('good')
        d = p.dlogd()
        text = d.text()
        for name in ('text', 'empty'):
            lines = [line for line in text.splitlines()
                     if p.region(name) in line]
            assert len(lines) == 1, lines
        assert '\x1b' not in text and r'\x1b[31m' in text
        assert 'guest good: region' in text
        # One that becomes good is taken, and the reason is told once.
        time.sleep(5)
        assert d.text().count(p.region('text')) == 1
        os.unlink(p.region('empty'))
        p.create('empty')
        d.wait_line('guest empty: region')


@case
def links_of_others_are_not_followed():
    if os.geteuid():
        skip('only root can make a link of somebody else')
    with Place() as p:
        p.create('elsewhere')
        os.rename(p.region('elsewhere'), p.path('elsewhere'))
        for name, uid in (('mine', 0), ('theirs', 65534), ('too', 65534)):
            os.symlink(p.path('elsewhere'), p.region(name))
            os.lchown(p.region(name), uid, uid)
        d = p.dlogd()
        d.wait_line('guest mine: region')
        d.wait_line('of user 65534 is not followed')
        os.symlink(p.path('elsewhere'), p.region('later'))
        d.wait_line('guest later: region')
        text = d.text()
        assert 'guest theirs' not in text and 'guest too' not in text, text
        assert text.count('is not followed') == 1, text


@case
def a_guest_that_restarts_is_the_same():
    with Place() as p:
        sims = p.sims('--guests', '2', '--qmp', '--period', '200')
        d = p.dlogd()
        for name in ('sim0', 'sim1'):
            d.wait_event(name, 'started')
            d.at = 0
        d.wait_line('sim0: QMP')
        for end, event in (('quit', 'shutdown'), ('kill', 'vmm-gone'),
                           ('poweroff', 'shutdown')):
            sims.do(end + ' sim0')
            d.wait_event('sim0', event)
            sims.do('start sim0')
            d.wait_event('sim0', 'started')
            d.wait_event('sim0', 'booted')
        time.sleep(1)
        assert set(d.events('sim1')) == {('sim1', 'started')}
        assert d.count('sim0', 'booted') == 3
        assert d.count('sim0', 'vmm-gone') == 1
        assert 'hung' not in d.text()


@case
def without_qmp_the_lock_tells():
    with Place() as p:
        sims = p.sims('--guests', '1', '--period', '200')
        d = p.dlogd()
        d.wait_event('sim0', 'started')
        sims.do('kill sim0')
        d.wait_event('sim0', 'vmm-gone')
        sims.do('start sim0')
        d.wait_event('sim0', 'started')
        sims.do('poweroff sim0')
        d.wait_event('sim0', 'shutdown')
        time.sleep(4)
        assert d.count('sim0', 'started') == 2, d.events()


# What a VMM tells

@case
def events_of_a_vmm():
    with Place() as p:
        sims = p.sims('--guests', '6', '--qmp', '--period', '200')
        d = p.dlogd()
        for i in range(6):
            d.wait_line('sim%d: QMP' % i)
            d.at = 0
        d.at = len(d.log.lines)
        sims.do('panic sim0')
        d.wait_event('sim0', 'panicked')
        sims.do('reset sim0')
        d.wait_event('sim0', 'reset')
        sims.do('reboot sim1')
        d.wait_event('sim1', 'reboot')
        sims.do('reset sim2')
        assert 'host-qmp-system-reset' in d.wait_event('sim2', 'reset')[1]
        sims.do('pause sim3')
        d.wait_event('sim3', 'paused')
        sims.do('resume sim3')
        d.wait_event('sim3', 'resumed')
        sims.do('event sim4 {"event": "WATCHDOG", "data": '
                '{"action": "pa\\u001b[1muse"}}')
        d.wait_event('sim4', 'watchdog')
        assert '\x1b' not in d.text()
        sims.do('oops sim4')
        d.wait_event('sim4', 'oops')
        sims.do('kexec sim5')
        d.wait_event('sim5', 'reboot')
        sims.do('panic sim5')
        d.wait_event('sim5', 'panicked')
        # A crash kernel loads its driver: another boot, and no reset.
        time.sleep(0.5)
        sims.do('event sim5 {"event": "GUEST_CRASHLOADED", "data": '
                '{"action": "run"}}')
        d.wait_event('sim5', 'crash-loaded')
        assert d.count('sim0', 'panicked') == 1, d.events('sim0')


@case
def control_socket():
    with Place() as p:
        d = p.dlogd()
        p.create('dom')
        d.wait_line('guest dom: region')
        os.rename(p.region('dom'), p.path('dom.raw'))
        d.wait_event('dom', 'lost')
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        s.connect(p.path('control'))

        def send(**message):
            s.send(json.dumps(message).encode())

        send(guest='vm', op='prepare', region=p.path('dom.raw'))
        d.wait_line('guest vm: region')
        send(guest='vm', op='start')
        d.wait_event('vm', 'started')
        send(guest='vm', op='stopped')
        d.wait_event('vm', 'shutdown')
        for junk in (b'', b'{', b'[]', b'{"guest": 1, "op": "start"}',
                     b'[' * 8000, b'\xff' * 100):
            s.send(junk)
            d.wait_line('control: a message without')
        try:
            s.send(b' ' * 60000)
            d.wait_line('control: a message longer')
        except OSError:
            pass
        send(guest='../x', op='start')
        d.wait_line('no name for a guest')
        send(guest='vm', op='explode')
        d.wait_line("unknown op 'explode'")
        send(guest='vm', op='prepare', region='/dev/zero')
        if os.geteuid() == 0:
            code = ('import os, socket, sys; os.setuid(65534); '
                    's = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); '
                    's.connect(sys.argv[1]); s.send(b"{}")')
            os.chmod(p.dir, 0o755)
            os.chmod(p.path('control'), 0o777)
            subprocess.run([sys.executable, '-c', code, p.path('control')],
                           check=True)
            d.wait_line('user 65534 is not listened to')


# Hostile peers

class Peer:
    """Listens as a QMP server would; each connection is handed to talk."""

    def __init__(self, path, talk):
        self.talk = talk
        self.connections = 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(8)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            sock, _ = self.listener.accept()
            self.connections += 1
            threading.Thread(target=self._one, args=(sock,),
                             daemon=True).start()

    def _one(self, sock):
        try:
            self.talk(sock)
        except OSError:
            pass
        sock.close()


GREETING = b'{"QMP": {"version": {}, "capabilities": []}}\r\n'


def shake_hands(sock):
    sock.sendall(GREETING)
    f = sock.makefile('rb')
    for answer in ({}, {'running': True, 'status': 'running'}):
        ask = json.loads(f.readline())
        sock.sendall(json.dumps({'return': answer, 'id': ask['id']}).encode()
                     + b'\n')


def endless(sock):
    while True:
        sock.sendall(b'x' * 65536)


def endless_after_greeting(sock):
    shake_hands(sock)
    endless(sock)


def garbage(sock):
    sock.sendall(os.urandom(100000).replace(b'\n', b'') + b'\n')
    sock.recv(1)


def deep(sock):
    sock.sendall(b'{"QMP":' * 10000 + b'\n')
    sock.recv(1)


def closes(sock):
    pass


def greets_and_closes(sock):
    shake_hands(sock)


def wrong_types(sock):
    shake_hands(sock)
    for line in (b'{"event": 7}', b'{"event": "RESET", "data": []}',
                 b'{"event": "SHUTDOWN"}', b'{"return": {}, "id": "x"}',
                 b'{"return": {}}', b'{"error": 3, "id": 99}', b'{}',
                 b'{"event": "STOP", "data": {"a": "%s"}}' % (b'b' * 9000),
                 b'{"event": "\\u0000", "data": null}'):
        sock.sendall(line + b'\n')
    sock.recv(1)


def no_newline_greeting(sock):
    sock.sendall(b'{"QMP": {}')
    time.sleep(30)


@case
def a_dump_that_never_begins():
    asked = []

    def talk(sock):
        shake_hands(sock)
        sock.sendall(b'{"event": "WATCHDOG", "data": {"action": "none"}}\n')
        for line in sock.makefile('rb'):
            ask = json.loads(line)
            asked.append((ask['execute'], time.monotonic()))
            if ask['execute'] != 'dump-guest-memory':
                answer = {'base-memory': 4096, 'plugged-memory': 0}
                sock.sendall(json.dumps({'return': answer, 'id': ask['id']})
                             .encode() + b'\n')

    with Place() as p:
        Peer(os.path.join(p.regions, 'g.qmp'), talk)
        conf = p.write('dlogd.conf', '[policy]\nwatchdog = dump\n'
                       '[incidents]\nkeep-free = 0\n')
        d = p.dlogd('-c', conf, '--bundles', p.path('bundles'))
        d.wait_line('dump failed', timeout=20)
        at = dict(asked)
        assert 4 < at['closefd'] - at['dump-guest-memory'] < 8, asked
        assert d.stop() == 0


@case
def hostile_qmp_peers():
    talks = {f.__name__.replace('_', '-'): f for f in (
        endless, endless_after_greeting, garbage, deep, closes,
        greets_and_closes, wrong_types, no_newline_greeting)}
    with Place() as p:
        peers = {name: Peer(os.path.join(p.regions, name + '.qmp'), talk)
                 for name, talk in talks.items()}
        p.sims('--guests', '1', '--qmp', '--period', '200')
        d = p.dlogd()
        d.wait_line('sim0: QMP')
        time.sleep(4)
        fds, rss, cpu = d.fds(), d.rss(), d.cpu()
        time.sleep(6)
        assert d.fds() <= fds + len(peers), (fds, d.fds())
        assert d.rss() < rss + 4096, (rss, d.rss())
        # On a busy machine all of them together are no load.
        assert d.cpu() - cpu < 1.5, d.cpu() - cpu
        text = d.text()
        for name, words in (('endless', 'without an end'),
                            ('garbage', 'no QMP'), ('deep', 'no QMP')):
            told = [line for line in text.splitlines()
                    if 'guest %s:' % name in line and words in line]
            assert len(told) == 1, (name, told)
        # Back-off: 0.1, 0.2, 0.4 ... 5 s.
        for name in ('closes', 'garbage', 'deep'):
            assert 4 <= peers[name].connections <= 12, \
                (name, peers[name].connections)
        assert d.events('sim0') == [('sim0', 'started')]
        assert d.stop() == 0


def unread(sock):
    """Bytes that the peer has not read yet."""
    left = array.array('i', [0])
    fcntl.ioctl(sock, termios.TIOCOUTQ, left)
    return left[0]


@case
def ten_thousand_resets():
    line = b'{"event": "RESET", "data": {"guest": true, "reason": "%s"}}\n' \
        % (b'r' * 2000)
    ready = queue.Queue()

    def talk(sock):
        shake_hands(sock)
        ready.put(sock)
        sock.recv(1)

    with Place() as p:
        Peer(os.path.join(p.regions, 'mad.qmp'), talk)
        d = p.dlogd()
        d.wait_line('mad: QMP')
        sock = ready.get(timeout=10)

        def flood(count):
            for _ in range(count):
                sock.sendall(line)
            until('all is read', lambda: not unread(sock))

        flood(1000)
        d.wait_line('only counted')
        rss, fds = d.rss(), d.fds()
        flood(9000)
        assert d.rss() <= rss + 512, (rss, d.rss())
        until('its files are closed', lambda: d.fds() <= fds)
        assert d.count('mad', 'reboot') + d.count('mad', 'reset') <= 64
        assert d.stop() == 0


@case
def ten_thousand_restarts():
    """Of a guest, as far as dlogd sees it: regions that come and go."""
    with Place() as p:
        p.create('model')
        d = p.dlogd()
        d.wait_line('model: region')
        with open(p.region('model'), 'rb') as f:
            data = f.read()
        spare = p.path('spare')

        def rounds(n):
            for i in range(n):
                with open(spare, 'wb') as f:
                    f.write(data)
                os.rename(spare, p.region('again'))
                if i % 2:
                    os.unlink(p.region('again'))

        rounds(500)
        time.sleep(1)
        rss, fds = d.rss(), d.fds()
        rounds(2000)
        time.sleep(1)
        assert d.rss() <= rss + 512, (rss, d.rss())
        assert abs(d.fds() - fds) <= 1, (fds, d.fds())
        assert d.stop() == 0


# Hangs

@case
def hangs_are_found_in_time():
    period = 1.0
    with Place() as p:
        sims = p.sims('--guests', '4', '--qmp', '--rings', '3')
        d = p.dlogd()
        for i in range(4):
            d.wait_line('sim%d: QMP' % i)
            d.at = 0
        d.at = len(d.log.lines)
        time.sleep(2.5)
        began = sims.do('hang sim0')
        sims.do('hang sim1 2')
        when, detail = d.wait_event('sim0', 'hung')
        assert 'CPUs 0-2 (all)' in detail, detail
        took = when - began
        print('all CPUs: found after %.2f periods' % (took / period))
        assert 0.9 * period < took < 2.5 * period, took
        d.at = 0
        when, detail = d.wait_event('sim1', 'hung')
        assert detail.startswith('CPU 2:'), detail
        assert 0.9 * period < when - began < 2.5 * period, when - began
        sims.do('wake sim0')
        sims.do('wake sim1')
        d.at = 0
        d.wait_event('sim0', 'recovered')
        d.at = 0
        d.wait_event('sim1', 'recovered')
        # Again: another hang.
        sims.do('hang sim0')
        d.wait_event('sim0', 'hung')
        assert d.count('sim2', 'hung') == d.count('sim3', 'hung') == 0


@case
def a_vmm_that_does_not_answer():
    with Place() as p:
        sims = p.sims('--guests', '2', '--qmp', '--period', '300')
        d = p.dlogd()
        for i in range(2):
            d.wait_line('sim%d: QMP' % i)
            d.at = 0
        time.sleep(1)
        sims.do('mute sim0')
        time.sleep(2)
        assert 'vmm-stuck' not in d.text()      # its heart beats
        sims.do('hang sim0')
        d.wait_event('sim0', 'vmm-stuck', 12)
        assert d.count('sim0', 'hung') == 0


@case
def ends_at_once_while_a_vmm_is_asked():
    with Place() as p:
        sims = p.sims('--guests', '3', '--qmp', '--period', '300')
        d = p.dlogd()
        for i in range(3):
            d.wait_line('sim%d: QMP' % i)
            d.at = 0
        time.sleep(1)
        # One question whether it runs, and some for the evidence of a panic.
        sims.do('mute *')
        sims.do('panic sim0')
        sims.do('hang sim1')
        time.sleep(0.8)
        began = time.monotonic()
        assert d.stop() == 0
        assert time.monotonic() - began < 2, time.monotonic() - began


def quiet_during(what, seconds=2.0, args=(), expected=()):
    """No event that means harm while what(sims, dlogd) happens, nor after."""
    with Place() as p:
        sims = p.sims('--guests', '8', '--qmp', '--period', '200', '--rate',
                      '50', *args)
        d = p.dlogd()
        for i in range(8):
            d.wait_line('sim%d: QMP' % i)
            d.at = 0
        time.sleep(1)
        what(sims, d)
        time.sleep(seconds)
        bad = [e for e in d.events()
               if e[1] in BAD_EVENTS and e[1] not in expected]
        assert not bad, (bad, d.text())
        # and it is not blind for that
        sims.do('hang sim7')
        d.wait_event('sim7', 'hung')


def stalled(pids, seconds):
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


@case
def no_false_alarm_over_a_stop_of_the_vmm():
    quiet_during(lambda sims, d: stalled([sims.pid], 10))


@case
def no_false_alarm_over_a_stop_of_dlogd():
    quiet_during(lambda sims, d: stalled([d.pid], 10))


@case
def no_false_alarm_over_a_stop_of_both():
    def both(sims, d):
        stalled([sims.pid, d.pid], 10)
        stalled([d.pid, sims.pid], 3)
    quiet_during(both)


@case
def no_false_alarm_over_many_short_stops():
    def short(sims, d):
        for n in range(40):
            stalled([sims.pid, d.pid][n % 3 > 0:][:1 + n % 2],
                    0.05 + n % 7 * 0.13)
            time.sleep(0.05)
    quiet_during(short)


@case
def no_false_alarm_over_pauses():
    def pauses(sims, d):
        sims.do('pause *')
        time.sleep(3)
        sims.do('resume *')
        time.sleep(1)
        for _ in range(10):
            sims.do('pause *')
            time.sleep(0.15)
            sims.do('resume *')
            time.sleep(0.15)
        # One that was paused need not answer either.
        sims.do('pause sim6')
        time.sleep(0.2)
        sims.do('mute sim6')
        time.sleep(6)
    quiet_during(pauses)


@case
def no_false_alarm_over_new_boots():
    def boots(sims, d):
        sims.do('reboot sim0')
        sims.do('kexec sim1')
        sims.do('offline sim2 1')
        sims.do('unload sim3')
        sims.do('poweroff sim4')
        sims.do('quit sim5')
        sims.do('reset sim6')       # its status still says running
    quiet_during(boots, 4, ('--boot-ms', '2500'), ('reset',))


@case
def no_false_alarm_when_the_host_is_busy():
    def busy(sims, d):
        load = [subprocess.Popen([sys.executable, '-c', 'while True: pass'])
                for _ in range(4 * (os.cpu_count() or 1))]
        time.sleep(6)
        for process in load:
            process.kill()
            process.wait()
    quiet_during(busy)


@case(timeout=120)
def two_hundred_cost_little():
    with Place() as p:
        p.sims('--guests', '200', '--qmp', '--size', '262144', '--rings', '1')
        d = p.dlogd()
        d.log.wait(lambda line: 'sim199: QMP' in line, 20, 'all guests')
        time.sleep(2)
        before = d.cpu()
        time.sleep(10)
        load = (d.cpu() - before) / 10
        print('200 guests: %.2f %% of a core, %.1f MiB'
              % (load * 100, d.rss() / 1024))
        assert load < 0.02, load
        assert d.rss() < 100 * 1024, d.rss()
        assert all(e[1] == 'started' for e in d.events()), d.events()


if __name__ == '__main__':
    main()
