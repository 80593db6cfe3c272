#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The QEMU plugin's watch=: followers are told of the next record, no record
is lost for it, no guest is harmed; and the clocks of guest and plugin.

What each case says of QEMU it says of 7.2 (plugin API 1) or of 10 (API 4);
those that end in _10 need tests/guest/setup trixie-qemu.
"""

import calendar
import json
import mmap
import os
import re
import select
import socket
import stat
import struct
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import case, main, skip, until  # noqa: E402 (needs the path above)
from lib.gdbstub import GdbStub  # noqa: E402
from lib.image import ImageError  # noqa: E402
from lib.world import BIN, BUILD, World, tool  # noqa: E402

PLUGIN = os.path.join(BUILD, 'lib/libdlog-plugin.so')


class Watched(World):
    """A World whose QEMU has the plugin, which watches the region."""

    def __init__(self, plugin_args='', **world):
        super().__init__(**world)
        self.plugin = os.path.join(self.folder, 'plugin.img')
        self.socket = self.region + '.watch'
        tool('dlog-create', '-q', '-s', '8M', '-r',
             str(self.guest.smp + 1), self.plugin)
        self.guest.qemu_args += ['-plugin', '%s,region=%s,watch=%s%s' % (
            PLUGIN, self.plugin, self.region, plugin_args)]

    def __enter__(self):
        try:
            return super().__enter__()
        except ImageError as why:
            return skip(str(why))

    def connect(self):
        def attempt():
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(10)
            try:
                sock.connect(self.socket)
                return sock
            except BlockingIOError:
                sock.close()    # too many at once
        return until('a connection', attempt)

    def mapped(self):
        with open(self.region, 'rb') as f:
            return mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)


class Follower:
    """dlog-read -f, from now on."""

    def __init__(self, region, out=subprocess.PIPE):
        self.process = subprocess.Popen(
            [os.path.join(BIN, 'dlog-read'), '-f', '-n', '0', region],
            stdin=subprocess.DEVNULL, stdout=out)
        self.text = b''

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def until(self, token, timeout=20):
        """Reads up to the line with token: when that came."""
        deadline = time.monotonic() + timeout
        while token not in self.text:
            left = deadline - time.monotonic()
            assert left > 0, 'no %r: %r' % (token, self.text[-500:])
            if select.select([self.process.stdout], [], [], left)[0]:
                self.text += os.read(self.process.stdout.fileno(), 65536)
        return time.monotonic()

    def wakeups(self):
        """How often it has gone to sleep so far."""
        with open('/proc/%d/status' % self.process.pid) as f:
            return int(re.search(r'^voluntary_ctxt_switches:\s+(\d+)',
                                 f.read(), re.M).group(1))


def log(w, token):
    """Lets the guest log token; when it was in the region."""
    region = w.mapped()
    w.guest.sh_nowait('echo %s > /dev/dlog-msg' % token.decode())
    deadline = time.monotonic() + 20
    while region.find(token) < 0:
        assert time.monotonic() < deadline
        time.sleep(0)
    return time.monotonic()


def ask(sock, answers=b'A'):
    sock.sendall(b'a')
    got = b''
    while len(got) < len(answers):
        more = sock.recv(16)
        assert more, 'closed after %r' % got
        got += more
    assert got == answers, got


def follow(qemu):
    with Watched(qemu=qemu, size='256K', rings=1) as w:
        assert stat.S_IMODE(os.lstat(w.socket).st_mode) == 0o600
        w.load_driver()
        with Follower(w.region) as one, Follower(w.region) as two:
            # It tries to connect once a second.
            time.sleep(2)
            late = []
            for n in range(20):
                token = b'token%d.' % n
                written = log(w, token)
                late.append(one.until(token) - written)
                two.until(token)
            print('shown after %.1f ms at most, %.1f in the middle' % (
                max(late) * 1000, sorted(late)[10] * 1000))
            # A reader that looks every 10 or 20 ms cannot do that.
            assert sorted(late)[10] < 0.004, sorted(late)
            before = one.wakeups(), two.wakeups()
            time.sleep(4)
            after = one.wakeups(), two.wakeups()
            print('woken %d and %d times in 4 s of silence' % (
                after[0] - before[0], after[1] - before[1]))
            # Once a second it looks all the same; a line of the guest's own
            # may come.  Who looks by himself wakes 200 times.
            assert after[0] - before[0] <= 12, (before, after)
            one.process.kill()
            log(w, b'one is gone')
            two.until(b'one is gone')
            strangers(w, two)
            w.guest.kill9()
            assert os.path.exists(w.socket)
            w.guest.start()
            w.load_driver()
            time.sleep(2)
            written = log(w, b'second QEMU')
            print('%.1f ms' % ((two.until(b'second QEMU') - written) * 1000))
            with w.connect() as sock:
                ask(sock)
            w.guest.poweroff()
            assert not os.path.exists(w.socket)


def strangers(w, follower):
    """Whatever connects, the guest and the other followers go on."""
    socks = [w.connect() for _ in range(40)]
    for n, sock in enumerate(socks):
        sock.setblocking(False)
        try:
            for _ in range(200):
                sock.send(os.urandom(1 + n * 37 % 400))
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            pass
    # Never read from; some were closed, for they were too many.
    for n in range(30):
        log(w, b'noise%d.' % n)
    follower.until(b'noise29.')
    closed = 0
    for sock in socks:
        try:
            while data := sock.recv(4096):
                assert not data.strip(b'AW'), data
            closed += 1
        except BlockingIOError:
            pass
        except ConnectionResetError:
            closed += 1
        sock.close()
    print('%d of 40 strangers were sent away' % closed)
    assert 20 <= closed < 40
    with w.connect() as sock:
        ask(sock)


@case
def followers_are_told():
    follow(None)


@case(long=True)
def followers_are_told_10():
    follow('trixie')


def full_speed(qemu):
    """Both vCPUs log in all contexts while several followers have every page
    guarded again and again."""
    with Watched(qemu=qemu, size='1M') as w:
        # Some cannot keep pace; what they read does not matter here.
        with Follower(w.region, subprocess.DEVNULL), \
                Follower(w.region, subprocess.DEVNULL):
            w.boot = w.load_driver()
            with w.connect() as sock:
                sock.setblocking(False)
                w.start_load(seconds=0)
                stores = 0
                end = time.monotonic() + 3
                while time.monotonic() < end:
                    sock.send(b'a')
                    if select.select([sock], [], [], 0.1)[0]:
                        stores += sock.recv(4096).count(b'W')
                print('%d times told' % stores)
                assert stores > 10
            w.guest.kill9()
            print('%d records' % w.check())


@case
def nothing_is_lost_at_full_speed():
    full_speed(None)


@case(long=True)
def nothing_is_lost_at_full_speed_10():
    full_speed('trixie')


def seconds(real):
    """'2026-11-22T05:00:20.803917623Z' in ns."""
    whole = calendar.timegm(time.strptime(real[:19], '%Y-%m-%dT%H:%M:%S'))
    return whole * 10 ** 9 + int(real[20:29])


RELATION = re.compile(r'boot (\d+) on the clock of (\S+) by (\d+) pairs: from '
                      r'([0-9.]+) to ([0-9.]+) s within ([0-9.]+) ms'
                      r'(?:, but for (\d+) jumps of its clock, ([0-9.]+) s)?')


def merged(w):
    """dlog-read of both: JSON records in its order, and what it says of the
    clocks of boot 1."""
    done = subprocess.run([os.path.join(BIN, 'dlog-read'), '-o', 'json',
                           w.region, w.plugin], stdout=subprocess.PIPE)
    assert done.returncode == 0
    stats = subprocess.run([os.path.join(BIN, 'dlog-read'), '--stats',
                            '--no-pager', w.region, w.plugin],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    found = RELATION.search(stats.stderr.decode())
    assert found, stats.stderr
    print(found.group(0))
    return [json.loads(line) for line in done.stdout.splitlines()], found


def events(records, name):
    return [e for e in records
            if e['kind'] == 'event' and e['text'].startswith(name)]


def clocks(qemu, smp):
    """A function is called: the plugin has a record of it, by a probe, and so
    has the guest, by its own tracer a moment later.  Each on its own clock."""
    name = '__x64_sys_sethostname'
    calls = 30
    with Watched(qemu=qemu, smp=smp) as w:
        # PVH has no KASLR: the address is that of any boot.
        address = w.guest.must("sed -n 's/ [Tt] %s$//p' /proc/kallsyms" %
                               name).strip()
        w.guest.quit()
        probes = os.path.join(w.folder, 'probes')
        with open(probes, 'w') as f:
            f.write('exec host 0x%s\n' % address)
        w.guest.qemu_args[-1] += ',probes=' + probes
        w.guest.start()
        w.load_driver()
        w.guest.must('echo "function on %s" > /dev/dlog' % name)
        time.sleep(2)
        w.guest.must('for i in $(seq %d); do hostname h$i; usleep 50000; '
                     'done' % calls, timeout=120)
        time.sleep(1.5)
        records, relation = merged(w)
        bound = float(relation.group(6)) * 1e6
        assert bound < 20e6, 'no use: %.3f ms' % (bound / 1e6)
        assert not relation.group(7), 'nobody has stopped the guest'
        host = events(records, 'probe:host')
        own = events(records, 'ftrace:function')
        assert len(host) == len(own) == calls, (len(host), len(own))
        # The bound holds from the first pair to the last.
        apart = sorted(seconds(b['real']) - seconds(a['real'])
                       for a, b in zip(host, own)
                       if float(relation.group(4)) < b['time'] <
                       float(relation.group(5)))
        assert len(apart) >= calls // 2
        print('the guest\'s own record is %.3f to %.3f ms behind, %.3f in the '
              'middle' % (apart[0] / 1e6, apart[-1] / 1e6,
                          apart[len(apart) // 2] / 1e6))
        # Never before it; behind it by what the tracer takes, which a busy
        # host may interrupt.  Linux' clocks of several CPUs under TCG are
        # not steady: each stands when its tick is late.
        assert apart[0 if smp == 1 else 3] >= -bound, (apart, bound)
        assert apart[len(apart) // 2] <= bound + 2e6, (apart, bound)
        order = [seconds(e['real']) for e in records if e.get('real')]
        assert sum(a > b for a, b in zip(order, order[1:])) < len(order) / 50
        stopped(w)


def stopped(w):
    """The guest stands still: its clock does too, ours does not."""
    w.guest.stop()
    time.sleep(3)
    w.guest.cont()
    time.sleep(2.5)
    sent = time.time()
    w.guest.must('echo awake again > /dev/dlog-msg')
    done = time.time()
    time.sleep(2.5)
    records, relation = merged(w)
    assert relation.group(7) == '1', relation.group(0)
    assert abs(float(relation.group(8)) - 3) < 0.2
    real, = [seconds(e['real']) / 1e9 for e in records
             if e.get('text') == 'awake again']
    assert sent - 0.1 < real < done + 0.1, (sent, real, done)


@case
def clocks_of_guest_and_plugin():
    clocks(None, 1)


@case(long=True)
def clocks_of_two_cpus():
    clocks(None, 2)


@case(long=True)
def clocks_of_guest_and_plugin_10():
    clocks('trixie', 1)


def region_device(w):
    return next(d for bus in w.guest.qmp('query-pci') for d in bus['devices']
                if d['id']['vendor'] == 0x1af4 and
                d['regions'][-1]['size'] == os.path.getsize(w.region))


def gdb_stores(w, address):
    """gdb's stub writes guest memory from QEMU's main thread, as an emulated
    device does: into a guarded page, behind the last record."""
    with open(w.region, 'rb') as f:
        ring_off, = struct.unpack_from('<Q', f.read(256), 168)
        f.seek(ring_off)
        ring = f.read()[:-4096]
    at = ring_off + (len(ring.rstrip(b'\0')) + 64 & ~7)
    with w.connect() as sock:
        ask(sock)
        stub = GdbStub(os.path.join(w.folder, 'gdb'))
        reply = stub.ask(b'Qqemu.PhyMemMode:1')
        while reply[:1] == b'T':
            # Connecting stopped the guest, which is told once more.
            reply = stub.receive()
        assert reply == b'OK', reply
        reply = stub.ask(b'M%x,8:%s' % (address + at, b'by gdb..'.hex().encode()))
        assert reply == b'OK', reply
        assert sock.recv(1) == b'W'
        stub.close()
    assert w.mapped().find(b'by gdb..') == at
    w.guest.cont()


@case
def qemu_itself_stores_and_unmaps():
    """QEMU's own threads store into guarded pages; then the region is
    unplugged with its file: nothing is guarded, QEMU goes on."""
    w = Watched(placement='ivshmem', smp=1, rings=1, firmware='seabios')
    w.guest.qemu_args += ['-gdb', 'unix:%s,server=on,wait=off' % os.path.join(
        w.folder, 'gdb')]
    with w:
        w.load_driver()
        device = region_device(w)
        gdb_stores(w, device['regions'][-1]['address'])
        with w.connect() as sock:
            ask(sock)
            w.guest.must('rmmod dlog')
            assert sock.recv(1) == b'W'
            # No driver, no guard.
            sock.sendall(b'a')
            assert sock.recv(1) == b''
        w.guest.qmp('device_del', id=device['qdev_id'])
        until('the device has gone', lambda: any(
            e['event'] == 'DEVICE_DELETED' for e in w.guest.events), 30)
        w.guest.qmp('object-del', id='dlog')

        def mappings():
            with open('/proc/%d/maps' % w.guest.pid()) as f:
                return [line for line in f if w.region in line]
        # The plugin's own page stays.
        until('the memory has gone', lambda: len(mappings()) == 1)
        with w.connect() as sock:
            sock.sendall(b'a')
            assert sock.recv(1) == b''
        assert w.guest.must('echo alive') == 'alive\n'


def refused(args, qemu='qemu-system-x86_64'):
    """QEMU does not start; what it says."""
    done = subprocess.run(
        [qemu, '-nodefaults', '-display', 'none', '-S', '-plugin',
         PLUGIN + ',' + args], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    text = done.stdout.decode()
    assert done.returncode not in (0, -11), (args, done)
    print(text)
    return text


@case
def what_cannot_be_watched_is_refused():
    import tempfile
    with tempfile.TemporaryDirectory() as folder:
        def path(name):
            return os.path.join(folder, name)
        region, plugin = path('guest.img'), path('plugin.img')
        tool('dlog-create', '-q', '-s', '1M', region)
        tool('dlog-create', '-q', '-s', '1M', '-r', '2', plugin)

        def watch(file):
            return refused('region=%s,watch=%s' % (plugin, file))
        assert 'No such file' in watch(path('none'))
        assert 'not a file' in watch(folder)
        with open(path('noise'), 'wb') as f:
            f.write(os.urandom(1 << 20))
        assert 'no region' in watch(path('noise'))
        assert 'not a file' in watch('/dev/null')
        # The socket's name is taken: by a file, a link, somebody who listens.
        name = region + '.watch'
        with open(name, 'w') as f:
            f.write('precious')
        assert 'no socket' in watch(region)
        os.rename(name, path('target'))
        os.symlink(path('target'), name)
        assert 'no socket' in watch(region)
        assert os.path.islink(name)
        os.unlink(name)
        os.symlink(path('nowhere'), name)
        assert 'no socket' in watch(region)
        assert not os.path.lexists(path('nowhere'))
        os.unlink(name)
        with open(path('target')) as f:
            assert f.read() == 'precious'
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(name)
            other.listen(1)
            assert 'in use' in watch(region)
            assert os.path.exists(name)


if __name__ == '__main__':
    main()
