#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""dlogctl in real guests: probes on the kernel and on a program, sets, files
of commands, lists, errors.

What a probe recorded is taken apart here, by the format that the guest's own
tracefs shows, and compared with what tests/tools/probed.c did.
"""

import json
import os
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import case, main, until  # noqa: E402 (needs the path above)
from lib.guest import Guest  # noqa: E402
from lib.world import BIN, BUILD, TREE, World, entries  # noqa: E402

CTL = {'/bin/dlogctl': os.path.join(BIN, 'dlogctl-static'),
       '/bin/probed': os.path.join(BUILD, 'tests', 'probed')}
MISC = '/sys/class/misc/dlog/'
TRACING = '/sys/kernel/tracing/'
KERNELS = ('6.1', '6.12')
# On one kernel in make check, on both in the long run.
LATE = ('example_applies', 'hits_are_counted_exactly', 'program_under_load',
        'status_equals_sysfs', 'the_kernels_errors_in_words')


def both(function):
    """A case for each kernel: NAME_on_6_1, NAME_on_6_12."""
    for kernel in KERNELS:
        def one(kernel=kernel):
            function(kernel)
        one.__name__ = '%s_on_%s' % (function.__name__,
                                     kernel.replace('.', '_'))
        case(one, long=kernel != '6.1' and function.__name__ in LATE)
    return function


def world(kernel='6.1', **kw):
    return World(kernel=kernel, files=CTL, **kw)


def listed(w, *words):
    """What a list shows, by Python's own JSON."""
    out = w.guest.must('dlogctl %s --json' % ' '.join(words))
    return [json.loads(line) for line in out.splitlines()]


def fails(w, command, *words, status=1):
    """Fails in one line that has these words."""
    got, out = getattr(w, 'guest', w).sh(command + ' 2>&1 >/dev/null')
    assert got == status, (got, out)
    assert out.startswith('dlogctl: ') and out.count('\n') == 1, out
    for word in words:
        assert word in out, (word, out)
    return out


# ---- records, by the kernel's own description ----

def layout(w, name):
    """{field: (offset, size, signed, is a string)} of a probe's records."""
    text = w.guest.must('cat %sevents/dlog/%s/format' % (TRACING, name))
    fields = {}
    for found in re.finditer(r'field:([^;]*?)(\w+)(?:\[\d*\])?;\toffset:(\d+);'
                             r'\tsize:(\d+);\tsigned:(\d);', text):
        kind, field, offset, size, signed = found.groups()
        fields[field] = (int(offset), int(size), signed == '1',
                         '__data_loc' in kind)
    return fields


def take_apart(fields, data):
    out = {}
    for field, (offset, size, signed, is_string) in fields.items():
        number = int.from_bytes(data[offset:offset + size], 'little',
                                signed=signed and not is_string)
        if is_string:
            at, length = number & 0xffff, number >> 16
            out[field] = data[at:at + length].rstrip(b'\0').decode()
        else:
            out[field] = number
    return out


class Probe:
    """One that is placed; remembers what is gone when it is removed."""

    def __init__(self, w, spec, *options):
        self.w = w
        self.name = spec.split()[0]
        w.guest.must("dlogctl probe add %s '%s'" % (' '.join(options), spec))
        self.fields = layout(w, self.name)
        # It had another id while it had other fields.
        self.id, = [e['id'] for e in listed(w, 'events', 'dlog:' + self.name)
                    if e['on']]

    def listed(self):
        row, = listed(self.w, 'probes', self.name)
        return row

    def remove(self):
        self.w.guest.must('dlogctl probe remove ' + self.name)

    def hits(self, pid=None):
        """Records in the region, by time, of one process."""
        found = [take_apart(self.fields, bytes.fromhex(e['hex']))
                 for e in entries(self.w.region)
                 if e['kind'] == 'event' and e['arg'] == self.id]
        return [hit for hit in found
                if pid is None or hit['common_pid'] == pid]


def gone(w, *names):
    """Nothing of these probes is left in the kernel."""
    said = w.guest.must('cat %sdynamic_events; ls %sevents' % (TRACING,
                                                               TRACING))
    for name in names:
        assert 'dlog/' + name not in said, said
    assert listed(w, 'probes') == []


def expected(n):
    """What probed_hit(n, "call n", n & 255) returns."""
    return 3 * n + len('call %d' % n) + (n & 255)


# ---- probes ----

@both
def kernel_function_and_its_return(kernel):
    with world(kernel, size='16M') as w:
        w.load_driver()
        opens = Probe(w, 'opens do_sys_openat2 dfd=arg1:s32 name=arg2:string')
        second = Probe(w, 'second do_sys_openat2 arg1:s32 '
                       'flags=+0(arg3):x64')
        back = Probe(w, 'back do_sys_openat2%return ret:s64')
        before = opens.listed()['hits']
        pid, calls, failed = map(int, w.guest.must(
            'probed open 2000').split())
        assert (calls, failed) == (2000, 2000)
        hits = opens.hits(pid)
        mine = [h['name'] for h in hits if h['name'].startswith('/probed.')]
        assert mine == ['/probed.%d' % n for n in range(1, 2001)]
        assert {h['dfd'] for h in hits} == {-100}       # AT_FDCWD
        flags = [h['flags'] for h in second.hits(pid)]
        # O_RDONLY | O_CLOEXEC, and O_LARGEFILE that the kernel adds.
        assert len(flags) == len(hits)
        assert flags.count(0o2000000 | 0o100000) >= 2000, set(flags)
        codes = [h['ret'] for h in back.hits(pid)]
        assert len(codes) == len(hits) and codes.count(-2) == 2000
        row = opens.listed()
        assert row['on'] is True and row['missed'] == 0, row
        assert row['hits'] - before >= 2000
        assert len(listed(w, 'probes')) == 3
        for probe in (opens, second, back):
            probe.remove()
        gone(w, 'opens', 'second', 'back')
        count = len(opens.hits())
        w.guest.must('probed open 10')
        assert len(opens.hits()) == count
        # The same name may have another layout next time.
        again = Probe(w, 'opens do_sys_openat2 arg2:string')
        assert again.id != opens.id
        pid = int(w.guest.must('probed open 3').split()[0])
        assert [h['arg2'] for h in again.hits(pid)][-3:] == [
            '/probed.1', '/probed.2', '/probed.3']


@both
def program_under_load(kernel):
    """Placed and removed while the program and every CPU's load run."""
    spec = 'hit /bin/probed:probed_hit n=arg1:u64 text=arg2:string arg3:u8'
    # With a thread for each CPU QEMU 7.2 may hang in a patched text, as said
    # in live.py, unload_under_load().
    with world(kernel, size='32M', accel='tcg,thread=single') as w:
        w.start_load(seconds=0, pause_us=2000, interval_us=20000)
        w.guest.must('probed until /stop > /out & sleep 1')
        for turn in range(3):
            hit = Probe(w, spec)
            back = Probe(w, 'back /bin/probed:probed_hit%return ret:u64')
            w.guest.must('sleep 1')
            back.remove()
            hit.remove()
            gone(w, 'hit', 'back')
        w.guest.must('touch /stop')
        until('its end', lambda: w.guest.sh('test -s /out')[0] == 0)
        pid, calls, total = map(int, w.guest.must('cat /out').split())
        assert total == sum(map(expected, range(1, calls + 1)))
        hits = hit.hits(pid)
        numbers = [h['n'] for h in hits]
        runs = [n for n, before in zip(numbers, [0] + numbers)
                if n != before + 1]
        assert numbers == sorted(set(numbers)), 'out of order, or twice'
        # As many runs without a gap as it was placed.
        assert len(runs) == 3, runs
        assert len(numbers) > 100 and numbers[-1] <= calls
        for h in hits:
            assert h['text'] == 'call %d' % h['n'], h
            assert h['arg3'] == h['n'] & 255, h
        returned = {h['ret'] for h in back.hits(pid)}
        assert len(returned) > 100
        assert returned <= {expected(n) for n in range(1, calls + 1)}
        w.guest.must('echo 0 > /sys/module/dlogtest/parameters/load')
        w.check()
        print('%d calls, %d hits, %d returns' % (calls, len(hits),
                                                 len(returned)))


@both
def hits_are_counted_exactly(kernel):
    with world(kernel, size='16M') as w:
        w.load_driver()
        one = Probe(w, 'one /bin/probed:probed_hit n=arg1:u64')
        two = Probe(w, 'two /bin/probed:probed_hit arg2:string')
        inside = Probe(w, 'inside /bin/probed:probed_hit+0 comm=$comm')
        w.guest.must('for i in 1 2 3 4; do probed call 1000 & done; wait')
        for probe in (one, two, inside):
            # 6.1's own counter of a program's probes is not atomic.
            hits = probe.listed()['hits']
            assert hits == 4000 or kernel == '6.1' and 3900 < hits < 4000, hits
            assert len(probe.hits()) == 4000
        assert sorted(h['n'] for h in one.hits()) == sorted(
            4 * list(range(1, 1001)))
        assert {h['comm'] for h in inside.hits()} == {'probed'}
        w.guest.must('dlogctl probe remove --all')
        gone(w, 'one', 'two', 'inside')


@case
def sets_of_probes():
    with world() as w:
        w.load_driver()
        one = Probe(w, 'one /bin/probed:probed_hit n=arg1:u64', '--set=mine')
        two = Probe(w, 'two /bin/probed:probed_hit arg1:u64', '--set', 'mine')
        assert [(s['name'], s['armed'], s['events'])
                for s in listed(w, 'sets')] == [('mine', False, 2)]
        assert one.listed()['set'] == ['mine']
        w.guest.must('probed call 10')
        assert one.hits() == two.hits() == []
        w.guest.must('dlogctl set arm mine; probed call 20; '
                     'dlogctl set disarm mine; probed call 30')
        assert [h['n'] for h in one.hits()] == list(range(1, 21))
        assert [h['arg1'] for h in two.hits()] == list(range(1, 21))
        # Off and on by hand: in no set any more.
        w.guest.must('dlogctl event off dlog:one; probed call 5; '
                     'dlogctl event on dlog:one; probed call 7')
        assert [h['n'] for h in one.hits()][20:] == list(range(1, 8))
        fails(w, 'dlogctl set arm nobodys', 'nobodys')


@case
def consumers_of_probes():
    with world() as w:
        w.load_driver()
        hit = Probe(w, 'hit do_sys_openat2 arg2:string', '--consumer=count',
                    '--set=s')
        stack = Probe(w, 'deep do_sys_openat2', '--consumer=stack:-5',
                      '--set=s')
        assert [(c['priority'], c['consumer'])
                for c in listed(w, 'consumers', 'dlog:deep')] == [
                    (0, 'record'), (-5, 'stack')]
        w.guest.must('dlogctl set arm s')
        pid = int(w.guest.must('probed open 50').split()[0])
        w.guest.must('dlogctl set disarm s')
        assert len(hit.hits(pid)) >= 50
        counts = {c['consumer']: c['count']
                  for c in listed(w, 'consumers', 'dlog:hit')}
        assert counts['count'] == counts['record'] == len(hit.hits())
        stacks = [e for e in entries(w.region) if e['kind'] == 'stack' and
                  'do_sys_openat2' in e['text']]
        assert len(stacks) == len(stack.hits()), len(stacks)
        # A probe that cannot have its consumer is taken away again.
        fails(w, "dlogctl probe add --consumer=nosuch 'x do_sys_openat2'",
              'nosuch')
        w.guest.must('dlogctl probe remove hit deep')
        gone(w, 'hit', 'deep', 'x')
        assert listed(w, 'consumers') == []


@case
def no_record_without_its_consumer():
    """Placed while the function is being called: what is in the region is
    what the consumer has seen."""
    with world(size='32M', accel='tcg,thread=single') as w:
        w.load_driver()
        w.guest.must("dlogctl event on --set=s sched:sched_process_exit; "
                     'dlogctl set arm s; probed until /stop > /out & sleep 1')
        seen = 0
        for turn in range(6):
            hit = Probe(w, 'hit /bin/probed:probed_hit n=arg1:u64',
                        '--consumer=count', *(('--set=s',) if turn % 2 else ()))
            w.guest.must('sleep 1; dlogctl event off dlog:hit')
            counts = {c['consumer']: c['count']
                      for c in listed(w, 'consumers', 'dlog:hit')}
            assert counts['count'] > 10, counts
            seen += counts['count']
            assert len(hit.hits()) == seen, (turn, len(hit.hits()), seen)
            hit.remove()
        w.guest.must('touch /stop')


@case
def one_at_a_time():
    """Several at once place one probe."""
    with world() as w:
        w.load_driver()
        for turn in range(5):
            w.guest.must(
                'for i in 1 2 3 4 5 6; do dlogctl probe add '
                "'same do_sys_openat2 arg2:string' 2>> /err && "
                'touch /won.$i & done; wait')
            assert w.guest.must('ls -d /won.* | wc -l').strip() == '1'
            assert w.guest.must('grep -c "there is a probe" /err'
                                ).strip() == '5'
            placed = w.guest.must('cat %sdynamic_events' % TRACING)
            assert placed.count('dlog/same') == 1, placed
            w.guest.must('dlogctl probe remove same; rm /won.* /err')


@both
def the_kernels_errors_in_words(kernel):
    with world(kernel) as w:
        w.load_driver()
        add = "dlogctl probe add '%s'"
        fails(w, add % 'a no_such_function', 'probe a: ', 'no_such_function')
        fails(w, add % 'a do_sys_openat2 arg1:u99', 'type', "at 'u99'")
        fails(w, add % 'a do_sys_openat2 x=%nosuch', "'%nosuch'")
        fails(w, add % 'a do_sys_openat2 arg1 arg1', 'already used')
        fails(w, add % 'a do_sys_openat2+0xfffff', 'a: ')
        fails(w, add % 'a /bin/probed:0x99999999', 'a: ')
        gone(w, 'a')
        w.guest.must(add % 'a do_sys_openat2')
        fails(w, add % 'a do_sys_openat2', "'a'", 'remove')
        fails(w, 'dlogctl probe remove b', "'b'")
        # Somebody else's hands on it.
        w.guest.must('echo 1 > %sevents/dlog/a/enable' % TRACING)
        fails(w, 'dlogctl probe remove a', 'in use')
        w.guest.must('echo 0 > %sevents/dlog/a/enable; '
                     'dlogctl probe remove a' % TRACING)
        gone(w, 'a')


@case
def where_tracefs_is_not_mounted():
    with world() as w:
        w.load_driver()
        w.guest.must('umount /sys/kernel/tracing; umount /sys/kernel/debug')
        w.guest.must("dlogctl probe add 'a /bin/probed:probed_hit arg1:u64'; "
                     'probed call 9')
        row, = listed(w, 'probes')
        assert (row['hits'], row['on']) == (9, True)
        assert 'tracefs' not in w.guest.must('cat /proc/mounts')
        assert len(listed(w, 'events', '--available')) > 500
        w.guest.must('dlogctl probe remove a')
        assert listed(w, 'probes') == []


@case
def off_is_placed_and_not_recorded():
    with world() as w:
        w.guest.must("dlogctl probe add --off 'a do_sys_openat2'")
        row, = listed(w, 'probes')
        assert (row['name'], row['on'], row['where']) == (
            'a', False, 'do_sys_openat2'), row
        w.load_driver()
        assert listed(w, 'events') == []
        w.guest.must('dlogctl event on dlog:a')
        row, = listed(w, 'probes')
        assert row['on'] is True
        # A driver that goes leaves the probe, a new one finds it.
        w.guest.must('rmmod dlog')
        row, = listed(w, 'probes')
        assert row['on'] is False
        w.guest.must('dlogctl probe remove --all')
        gone(w, 'a')


# ---- files ----

@case
def file_of_commands():
    boot = '\n'.join((
        '# a comment', '', 'level 5', 'event on sched:sched_switch set=busy',
        '  probe add --set=mine one /bin/probed:probed_hit n=arg1:u64  # x',
        'probe add two do_sys_openat2 arg2:string', 'set arm mine',
        'event on --set=quiet irq:irq_handler_entry irq:irq_handler_exit',
        'mark applied')) + '\n'
    with world() as w:
        w.load_driver()
        w.guest.must("cat > /boot1 << 'EOF'\n%sEOF\n" % boot)
        for _ in range(2):              # and again
            w.guest.must('dlogctl apply /boot1')
        w.guest.must('probed call 5')
        assert {p['name']: p['hits'] for p in listed(w, 'probes')}['one'] == 5
        one, = listed(w, 'events', 'dlog:one')
        assert one['on'] is True and one['set'] == ['mine'], one
        assert [e['set'] for e in listed(w, 'events', "'irq:irq_handler_e*'")
                ] == [['quiet'], ['quiet']]
        assert w.guest.must('dlogctl messages -n 1').endswith('applied\n')
        # Nothing is done when a line makes no sense; what fails later ends it.
        w.guest.must('dlogctl probe remove --all')
        w.guest.must('(cat /boot1; echo probe add three f+4 arg1) > /boot2')
        fails(w, 'dlogctl apply /boot2', '/boot2:10: ', 'entry')
        gone(w, 'one', 'two')
        w.guest.must('(head -n 5 /boot1; echo event on no:such; '
                     'echo probe add two do_sys_openat2) > /boot3')
        fails(w, 'dlogctl apply /boot3', '/boot3:6: ', 'no:such')
        assert [p['name'] for p in listed(w, 'probes')] == ['one']


@both
def example_applies(kernel):
    path = os.path.join(TREE, 'guest-patch/dlogctl/boot/boot.example')
    with open(path) as f:
        # With what it has commented out, too.
        text = re.sub(r'(?m)^#(?=(probe|event) )', '', f.read())
    with world(kernel, size='16M') as w:
        w.load_driver()
        w.guest.must("cat > /boot1 << 'EOF'\n%sEOF\n" % text)
        w.guest.must('dlogctl apply /boot1 && dlogctl set arm syscalls && '
                     'dlogctl stop')
        names = {e['name'] for e in listed(w, 'events')}
        assert {'sched:sched_switch', 'dlog:opens',
                'raw_syscalls:sys_exit'} <= names, names


# ---- lists and errors ----

@both
def status_equals_sysfs(kernel):
    with world(kernel, create=('-l', '007')) as w:
        w.load_driver()
        shown, = listed(w, 'status')
        for name in ('status', 'placement', 'memory_type', 'uuid', 'label',
                     'printk_source', 'address'):
            assert shown[name] == w.guest.must(
                'cat ' + MISC + name).rstrip('\n'), name
        for name in ('boot', 'size', 'heartbeat_ms'):
            assert shown[name] == int(w.guest.must('cat ' + MISC + name))
        # This one moves between two looks.
        assert isinstance(shown['clock_error_ns'], int)
        assert shown['recording'] is True and shown['label'] == '007'
        rings = w.rings()
        assert [r['ring'] for r in shown['rings']] == [r[0] for r in rings]
        for mine, ring in zip(shown['rings'], rings):
            assert mine['records'] <= ring[2]
            assert mine['dropped'] == ring[3]
        text = w.guest.must('dlogctl status')
        assert re.search(r'(?m)^boot +1$', text), text
        w.guest.must('dlogctl stop')
        shown, = listed(w, 'status')
        assert shown['recording'] is False
        assert w.guest.must('cat %srecording' % MISC).strip() == '0'
        fails(w, 'dlogctl mark unheard', 'stopped', 'dlogctl start')
        w.guest.must('dlogctl start; dlogctl mark -l 3 heard -- --well')
        last = [e for e in entries(w.region) if e['kind'] == 'text'][-1]
        assert last['text'] == 'heard --well', last
        w.guest.must('dlogctl level 4; echo "<6>no" > /dev/kmsg; '
                     'echo "<3>yes" > /dev/kmsg')
        texts = [e.get('text') for e in entries(w.region)]
        assert 'yes' in texts and 'no' not in texts


@case
def messages_of_boots():
    with world() as w:
        w.load_driver()
        w.guest.must('for i in 1 2 3; do dlogctl mark "first $i"; done; '
                     'printf "two\\nlines \\033[m\\n" > /dev/dlog-msg')
        w.guest.system_reset()
        w.guest.wait_ready()
        w.load_driver()
        w.guest.must('dlogctl mark "of the second"')
        assert w.guest.must('dlogctl messages') == w.guest.must(
            'cat /dev/dlog')
        ends = w.guest.must('dlogctl messages -n 2 -b 1').splitlines()
        assert ends[0].endswith('first 3') and ends[1].endswith('two'), ends
        assert ends[2].strip() == 'lines \\x1b[m', ends
        assert w.guest.must('dlogctl messages -n2 --boot=-1').splitlines() \
            == ends
        assert w.guest.must('dlogctl messages -b -n 1').endswith(
            'of the second\n')
        rows = listed(w, 'messages')
        assert [r['boot'] for r in rows] == sorted(r['boot'] for r in rows)
        assert {r['boot'] for r in rows} == {1, 2}
        last = rows[-1]
        told = [e for e in entries(w.region) if e.get('text') == last['text']]
        assert last['text'] == 'of the second'
        assert abs(told[-1]['time'] - last['time']) < 1e-6
        fails(w, 'dlogctl messages -b 3', "'3'")


@case
def who_may_not_and_what_is_not_there():
    with Guest(files=CTL) as guest:
        for command in ('status', 'start', 'events', 'messages', 'mark x',
                        "probe add 'a do_sys_openat2'"):
            fails(guest, 'dlogctl ' + command, '/dev/dlog', 'modprobe dlog')
        assert guest.must('cat %sdynamic_events' % TRACING) == ''
    with world() as w:
        w.load_driver()
        w.guest.must('chmod 666 /dev/dlog')
        for command in ('status', 'start', 'messages', 'probes'):
            fails(w, 'probed nobody dlogctl ' + command, 'not permitted',
                  'root')


if __name__ == '__main__':
    main()
