#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Stock kernels that panic with QEMU's acpi-erst device: dlog-read gives from
its file, after QEMU was killed, what the serial console had and what the next
boot's /sys/fs/pstore shows, byte for byte.  A damaged page costs what is in it.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import zlib

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import case, main, until  # noqa: E402 (needs the path above)
from lib.guest import Guest  # noqa: E402
from lib.world import BIN, entries, tool  # noqa: E402

SLOT = 8192
TEXT = 200  # of a record: behind its header and one section descriptor
KMSG_BYTES = 10240  # CONFIG_PSTORE_DEFAULT_KMSG_BYTES of Debian's kernels

# More than a dump holds; a record of two lines; a line that is not the
# kernel's.
NOISE = '''
head -c 12000 /dev/urandom | base64 -w 24 | while read -r line; do
	echo "<4>noise of a load that says what it always says $line" > /dev/kmsg
done
printf 'first of two\\nsecond of two\\n' > /dev/kmsg
echo '<30>a daemon says so' > /dev/kmsg
'''

# Linux keeps a part uncompressed, and cut, when it gets too large.
RANDOM = '''
head -c 30000 /dev/urandom | base64 -w 100 | while read -r line; do
	echo "$line" > /dev/kmsg
done
'''

LINE = re.compile(rb'(?:<(\d+)>)?(\[ *\d+\.\d{6}\]) (.*)')


class Erst:
    """A guest with the device, and its file."""

    def __init__(self, kernel, append='', size='256K', **more):
        self.file = tempfile.NamedTemporaryFile(prefix='dlog-erst-')
        self.guest = Guest(
            kernel=kernel, append='panic=1 ignore_loglevel printk.devkmsg=on '
            + append, qemu_args=[
                '-object', 'memory-backend-file,id=erst,mem-path=%s,size=%s,'
                'share=on' % (self.file.name, size),
                '-device', 'acpi-erst,memdev=erst'], **more)

    def __enter__(self):
        self.guest.__enter__()
        return self

    def __exit__(self, *why):
        self.guest.__exit__(*why)
        self.file.close()

    def die(self, how):
        """Run @how, which ends this boot, and wait for the next."""
        self.guest.sh_nowait(how)
        self.guest.wait_ready()

    def pstore(self):
        """{record id: text} that the guest shows."""
        self.guest.must('mountpoint -q /sys/fs/pstore || '
                        'mount -t pstore pstore /sys/fs/pstore')
        out = self.guest.must('cd /sys/fs/pstore; for f in *; do '
                              'echo "@$f"; base64 -w 0 $f; echo; done')
        found = {}
        for name, data in re.findall(r'@dmesg-erst-(\d+)\n(\S*)', out):
            done = subprocess.run(['base64', '-d'], input=data.encode(),
                                  stdout=subprocess.PIPE, check=True)
            found[int(name)] = done.stdout
        return found

    def boots(self):
        """Lines of the console, for each boot."""
        found = []
        for line in self.guest.console().encode(
                'utf-8', 'surrogateescape').splitlines():
            if b'] Linux version ' in line:
                found.append([])
            match = LINE.match(line.rstrip(b'\r'))
            if found and match:
                found[-1].append(b'%s %s' % match.groups()[1:])
        return found


def dumps_of(pstore):
    """[(reason, lines)] of what the guest shows, oldest dump first, each
    from its oldest line on.  Record ids grow with time."""
    found, last = [], None
    for _, text in sorted(pstore.items()):
        head, _, rest = text.partition(b'\n')
        reason, part = re.fullmatch(rb'(\w+#\d+) Part(\d+)', head).groups()
        if int(part) == 1:
            found.append([reason.decode(), []])
        else:
            assert last == (reason, int(part) - 1), (last, reason, part)
        last = reason, int(part)
        found[-1][1][:0] = rest.splitlines()
    return [tuple(dump) for dump in found]


def line_of(entry):
    """A line as the kernel's dump has it; one that was cut has no prefix, or
    it is not told from the text."""
    if entry.get('doubt') == 'torn':
        return entry['text'].encode()
    return b'<%d>[%12.6f] %s' % (entry['facility'] * 8 + entry['level'],
                                 entry['time'], entry['text'].encode())


def read(path):
    """{boot: [(line, doubt)]} by dlog-read."""
    found = {}
    for e in entries(path):
        assert e['kind'] == 'printk', e
        found.setdefault(e['boot'], []).append((line_of(e), e.get('doubt')))
    return found


def text_of(line):
    return LINE.fullmatch(line).group(3)


def plain(lines):
    """Without the level, as the console has them."""
    return [line[line.index(b'>') + 1:] for line in lines]


def check_console(boots, dumps, which):
    """Each dump is a piece of its boot's console that ends where the dump
    was made, and is as long as pstore allows."""
    for n, (reason, lines) in zip(which, dumps):
        lines = plain(lines)
        said = boots[n]
        if lines[0] == said[0]:
            begin = 0
        else:
            # The kernel stamps to 1 us: lines are told apart by their text.
            begin = said.index(lines[0])
        assert said[begin:begin + len(lines)] == lines, reason
        rest = said[begin + len(lines):]
        if reason.startswith('Panic'):
            # Only what panic() says behind the dump.
            assert len(rest) < 8 and b'Rebooting in' in rest[-1], rest


def check_amount(path, pstore):
    """pstore stops at kmsg_bytes, or has the whole log."""
    with open(path, 'rb') as f:
        data = f.read()
    stored = {}
    for at in range(SLOT, len(data), SLOT):
        if data[at:at + 4] == b'CPER':
            record = int.from_bytes(data[at + 96:at + 104], 'little')
            stored[record] = int.from_bytes(
                data[at + 20:at + 24], 'little') - TEXT
    assert sorted(stored) == sorted(pstore)
    sizes = []
    for record, text in sorted(pstore.items()):
        if re.match(rb'\w+#\d+ Part1\n', text):
            sizes.append(([], []))
        sizes[-1][0].append(stored[record])
        sizes[-1][1].append(text)
    for size, text in sizes:
        assert sum(size[:-1]) < KMSG_BYTES
        assert sum(size) >= KMSG_BYTES or b'] Linux version' in text[-1]


def check_read(path, dumps, statuses, cut=None):
    """dlog-read's records are the dumps, and it says how each boot ended.
    Only lines of dump number @cut are cut by the kernel."""
    got = read(path)
    assert sorted(got) == list(range(1, len(dumps) + 1)), sorted(got)
    for boot, (_, lines) in enumerate(dumps, 1):
        if boot != cut:
            assert got[boot] == [(line, None) for line in lines], boot
            continue
        marks = [doubt for _, doubt in got[boot]]
        assert marks.count('torn') == 2 and marks.count(None) > 50, marks
        assert [line if not doubt else text_of(want) for (line, doubt), want in
                zip(got[boot], lines)] == [
                    text_of(want) if doubt else want
                    for want, doubt in zip(lines, marks)]
        assert len(lines) == len(marks)
    boots = [json.loads(line) for line in tool(
        'dlog-read', '--list-boots', '-o', 'json', path).splitlines()]
    assert [b['status'] for b in boots] == statuses, boots


class Follower:
    """dlog-read -f."""

    def __init__(self, path):
        self.out = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [os.path.join(BIN, 'dlog-read'), '-f', '-n', 'all', '-o', 'json',
             path], stdin=subprocess.DEVNULL, stdout=self.out)

    def lines(self):
        self.out.seek(0)
        return self.out.read().splitlines()

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(10)
        return self.lines()


def damage(path, dumps, pages):
    """Each page in turn overwritten: what is not in it is read."""
    with open(path, 'rb') as f:
        good = f.read()
    where = {}  # page: (dump, index of the part's first line, lines)
    dump, part = -1, 0
    for at in range(SLOT, len(good), SLOT):
        if good[at:at + 4] != b'CPER':
            continue
        size = int.from_bytes(good[at + 20:at + 24], 'little') - TEXT
        text = zlib.decompress(good[at + TEXT:at + TEXT + size], -15)
        number = int(re.match(rb'\w+#\d+ Part(\d+)\n', text).group(1))
        count = text.count(b'\n') - 1
        if number == 1:
            dump, part = dump + 1, len(dumps[dump + 1][1])
        part -= count
        for page in range(at, at + TEXT + size, 4096):
            where[page] = dump, part, count, page == at
    assert 0 not in where and len(where) >= 6, where
    for page in [0] + sorted(where)[:pages]:
        with tempfile.NamedTemporaryFile(prefix='dlog-erst-') as bad:
            bad.write(good[:page] + os.urandom(4096) + good[page + 4096:])
            bad.flush()
            got = read(bad.name)
        if page == 0:
            # All of it, but where each record lies had to be found out.
            for boot, (_, lines) in enumerate(dumps, 1):
                assert got[boot] == [(x, 'salvaged') for x in lines]
            continue
        dump, first, count, whole = where[page]
        for boot, (_, lines) in enumerate(dumps, 1):
            if boot != dump + 1:
                assert got[boot] == [(x, None) for x in lines], (page, boot)
        lines, mine = dumps[dump][1], got.get(dump + 1, [])
        before, behind = lines[:first], lines[first + count:]
        assert mine[:len(before)] == [(x, None) for x in before], page
        assert mine[len(mine) - len(behind):] == [
            (x, None) for x in behind], page
        rest = mine[len(before):len(mine) - len(behind)]
        if whole:
            assert not rest, rest  # its header and where deflate began
        else:
            same = 0
            while same < min(len(rest), count) and \
                    rest[same][0] == text_of(lines[first + same]):
                same += 1
            print('page %#x: %d of %d lines' % (page, same, count))
            assert same > count // 4
            assert all(doubt == 'torn' for _, doubt in rest)


@case
def two_panics():
    with Erst('6.1') as w:
        path = w.file.name
        w.die('echo c > /proc/sysrq-trigger')
        follower = Follower(path)
        until('the first dump is followed', follower.lines)
        w.guest.must(NOISE)
        w.die('echo c > /proc/sysrq-trigger')
        shown = w.pstore()
        dumps = dumps_of(shown)
        until('the second dump is followed', lambda: len(
            follower.lines()) >= sum(len(lines) for _, lines in dumps))
        followed = follower.stop()
        w.guest.kill9()
        boots = w.boots()
        assert [reason for reason, _ in dumps] == ['Panic#1', 'Panic#1']
        assert b'] Linux version' in dumps[0][1][0]
        assert any(b'second of two' in x for x in dumps[1][1])
        assert any(x.startswith(b'<30>[') for x in dumps[1][1])
        check_read(path, dumps, ['panic', 'panic'])
        check_console(boots, dumps, [0, 1])
        check_amount(path, shown)
        assert followed == tool('dlog-read', '-o', 'json', path).splitlines()
        damage(path, dumps, 100)


@case(long=True)
def other_ends():
    """6.12: a panic and the restart behind it, a restart at once, orderly
    ones; what the guest deletes is still there."""
    with Erst('6.12', 'printk.always_kmsg_dump=1', smp=1) as w:
        path = w.file.name
        w.die('echo c > /proc/sysrq-trigger')
        w.die('echo b > /proc/sysrq-trigger')
        w.guest.must(NOISE)
        w.die('reboot -f')
        w.guest.must(RANDOM)
        w.die('reboot -f')
        shown = w.pstore()
        dumps = dumps_of(shown)
        print([reason for reason, _ in dumps])
        # panic() restarts by emergency_restart(), which dumps once more.
        assert [reason for reason, _ in dumps] == [
            'Panic#1', 'Emergency#2', 'Emergency#1', 'Shutdown#1',
            'Shutdown#1']
        check_read(path, dumps, ['panic'] + ['emergency restart'] * 2 + [
                   'none', 'none'], cut=5)
        check_console(w.boots(), dumps[:4], [0, 0, 1, 2])
        check_amount(path, shown)
        w.guest.must('rm /sys/fs/pstore/dmesg-erst-*')
        w.guest.kill9()
        got = read(path)
        for boot, (_, lines) in enumerate(dumps, 1):
            assert [doubt for _, doubt in got[boot] if doubt != 'torn'] == [
                'stale'] * (len(lines) - 2 * (boot == 5)), boot
            assert len(got[boot]) == len(lines)
            assert boot == 5 or [line for line, _ in got[boot]] == lines


if __name__ == '__main__':
    main()
