#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Events on real guests: commands, sets, consumers, and what user space
declares and appends.

Relies on tests/scenarios/module/dlogevents.c, which appends events and brings
consumers, and on tests/tools/dlogioc.c, which is user space in the guest.
"""

import collections
import os
import re
import struct
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import case, main, until  # noqa: E402 (needs the path above)
from lib.world import BUILD, World, entries, tool  # noqa: E402

EVENTS = '/sys/module/dlogevents/parameters/'
PING, PONG = 'dlogevents:ping', 'dlogevents:pong'
SHOW = {'events': 1, 'functions': 2, 'sets': 3, 'consumers': 4, 'status': 5}


class EventWorld(World):
    """With the driver, and unless told otherwise dlogevents.ko, loaded."""

    def __init__(self, kernel='6.1', load=True, **more):
        super().__init__(kernel=kernel, files={
            '/dlogevents.ko': os.path.join(BUILD, 'guest', kernel,
                                           'dlogevents.ko'),
            '/dlogioc': os.path.join(BUILD, 'tests/dlogioc')}, **more)
        self.load = load

    def __enter__(self):
        super().__enter__()
        try:
            if self.load:
                self.load_events()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def load_events(self, options=''):
        self.load_driver(options)
        self.guest.must('insmod /dlogevents.ko')

    def do(self, name, value):
        """An action of dlogevents.ko."""
        self.guest.must('echo %s > %s%s' % (value, EVENTS, name))

    def result(self, name):
        return int(self.guest.must('cat %s%s' % (EVENTS, name)))

    def ioc(self, *args, env=''):
        """dlogioc's output, with its exit status in front."""
        status, out = self.guest.sh('%s /dlogioc %s' % (env, ' '.join(
            "'%s'" % arg for arg in args)))
        return status, out.replace('\r', '').rstrip('\n')

    def run(self, *commands):
        """Commands that have to be right."""
        status, out = self.ioc('run', *commands)
        assert (status, out) == (0, ''), out

    def refused(self, command):
        """(errno, sentence) of a command that has to fail."""
        status, out = self.ioc('run', command)
        assert status == 1, (command, out)
        sentence, errno = out.split('\n')
        return errno, sentence

    def show(self, what):
        """Rows as dictionaries, by what the heading line calls them."""
        status, out = self.ioc('show', SHOW[what])
        assert status == 0, out
        head, *rows = [line.split('\t') for line in out.split('\n')]
        assert all(len(row) == len(head) for row in rows), rows
        return [dict(zip(head, row)) for row in rows]

    def status(self, name):
        return {row['name']: row['value'] for row in self.show('status')}[name]

    def set_of(self, name):
        return {row['name']: row['set'] for row in self.show('events')}[name]

    def counts(self):
        """{(event, consumer): count}"""
        return {(row['event'], row['consumer']): int(row['count'])
                for row in self.show('consumers')}

    def events(self, *args):
        """[(name, data)] of all event records, in order."""
        found = []
        for e in entries(self.region, *args):
            if e['kind'] == 'event':
                name = re.match(r'[\w-]+:[\w-]+', e['text']).group()
                found.append((name, bytes.fromhex(e['hex'])))
        return found

    def numbers(self):
        """The same, of events with one number."""
        return [(name.removeprefix('dlogevents:'),
                 struct.unpack('<Q', data)[0])
                for name, data in self.events()
                if name.startswith('dlogevents:')]

    def clean(self):
        """The kernel has nothing to complain about."""
        said = self.guest.must('dmesg -r')
        for bad in ('BUG:', 'WARNING:', 'Oops', 'general protection',
                    'Call Trace', 'rcu_sched', 'stall'):
            assert bad not in said, said[max(0, said.index(bad) - 500):][:2000]


# ---- commands ----

WRONG = (
    # command, errno, what the sentence says
    ('nonsense', 'EINVAL', 'no such command'),
    ('start now', 'EINVAL', 'say: start'),
    ('stop it', 'EINVAL', 'say: stop'),
    ('level', 'EINVAL', '0 (emerg) to 7 (debug)'),
    ('level 9', 'EINVAL', '0 (emerg) to 7 (debug)'),
    ('level -1', 'EINVAL', '0 (emerg) to 7 (debug)'),
    ('event', 'EINVAL', 'event on|off GLOB'),
    ('event maybe a:b', 'EINVAL', 'event on|off GLOB'),
    ('event on', 'EINVAL', 'event on|off GLOB'),
    ('event on no:such', 'ENOENT', 'no event matches no:such'),
    ('event off no:such', 'ENOENT', 'no event matches no:such'),
    ('event on dlogevents:* to=A', 'EINVAL', 'set=NAME'),
    ('event off dlogevents:* set=A', 'EINVAL', 'set=NAME'),
    ('event on dlogevents:* set=', 'EINVAL', 'no name of a set'),
    ('event on dlogevents:* set=a/b', 'EINVAL', 'no name of a set'),
    ('event on dlogevents:* set=arm', 'EINVAL', 'no name of a set'),
    ('event on dlogevents:* set=' + 32 * 'x', 'EINVAL', '1 to 31 letters'),
    ('function on', 'EINVAL', 'function on|off GLOB'),
    ('function on no_such_function_', 'ENOENT', 'no_such_function_'),
    ('function off no_such_function_', 'ENOENT', 'is not on'),
    ('set', 'EINVAL', 'set arm|disarm NAME'),
    ('set arm', 'EINVAL', 'set arm|disarm NAME'),
    ('set A', 'EINVAL', 'set arm|disarm NAME'),
    ('set arm nobody', 'ENOENT', 'no set is called nobody'),
    ('set arm known disarm known', 'EINVAL', 'armed and disarmed'),
    ('consumer', 'EINVAL', 'consumer add EVENT CONSUMER'),
    ('consumer add', 'EINVAL', 'consumer add EVENT CONSUMER'),
    ('consumer add no:such count', 'ENOENT', 'no event is called no:such'),
    ('consumer add %s cont' % PING, 'ENOENT', 'count, once, stack, stop'),
    ('consumer add %s count x' % PING, 'EINVAL', "'x' is no priority"),
    ('consumer add %s count 99999999999' % PING, 'EINVAL', 'no priority'),
    ('consumer remove %s count' % PING, 'ENOENT', 'has no consumer count'),
    ('consumer remove %s count 7' % PING, 'EINVAL', 'consumer remove'),
    ('start\n' + 200 * 'y ', 'EINVAL', 'too many words'),
    (3000 * 'z', 'EINVAL', 'no such command'),
)


@case
def wrong_commands_say_what_is_wrong():
    with EventWorld() as w:
        w.run('event on %s set=known' % PONG, 'event on %s' % PONG)
        for command, errno, says in WRONG:
            got, sentence = w.refused(command)
            assert got == errno and says in sentence, (command, got, sentence)
            last = command.split('\n')[-1]
            assert sentence.startswith("'%s" % last[:60]), sentence
        # What went before the one that fails has been done, no more.
        errno, sentence = w.refused('level 3; level x; level 5')
        assert sentence.startswith("'level x'") and w.status('level') == '3'
        # write(2) has only its errno; the words go to the kernel's log.
        status, _ = w.guest.sh('echo "event on no:such" > /dev/dlog')
        assert status != 0
        assert 'no event matches no:such' in w.guest.must('dmesg')
        # Comments, empty lines, blanks, and several in one line.
        w.guest.must(r"printf '# stop\n\n  level\t4 # not 5; stop\n;;\n' "
                     '> /dev/dlog')
        assert w.status('level') == '4' and w.status('recording') == 'yes'
        w.clean()


@case
def rights_follow_how_the_file_was_opened():
    with EventWorld() as w:
        assert w.ioc('run', 'stop', env='MODE=r') == (1, 'EBADF')
        assert w.ioc('event', 'a:b', '', env='MODE=r') == (1, 'EBADF')
        assert w.ioc('record', '1', '', env='MODE=r') == (1, 'EBADF')
        assert w.ioc('show', '5', env='MODE=w') == (1, 'EBADF')
        assert w.ioc('show', '6', env='MODE=r') == (1, 'EINVAL')
        assert w.status('recording') == 'yes'


@case
def level_leaves_out_what_is_below():
    with EventWorld(load=False) as w:
        w.load_driver()
        w.run('level 4')
        for level in range(8):
            w.guest.must('echo "<%d>said at %d" > /dev/kmsg' % (level, level))
        w.run('level 8')
        w.guest.must('echo "<7>said at last" > /dev/kmsg')
        found = [e['text'] for e in entries(w.region)
                 if e.get('text', '').startswith('said at ')]
        assert found == ['said at %d' % n for n in range(5)] + \
            ['said at last'], found


def commands_at_load(kernel):
    with EventWorld(kernel, load=False) as w:
        w.load_driver("""'run="level 5; nonsense; consumer; # stop; stop"'""")
        assert w.status('level') == '5' and w.status('recording') == 'yes'
        said = w.guest.must('dmesg | grep dlog.run:').splitlines()
        assert len(said) == 2, said
        assert "'nonsense': no such command" in said[0], said
        assert "'consumer': say: " in said[1], said
        w.guest.must('rmmod dlog')
        w.load_driver("""'run="level 6;stop"'""")
        assert w.status('level') == '6' and w.status('recording') == 'no'


@case
def commands_are_run_at_load_6_1():
    commands_at_load('6.1')


@case(long=True)
def commands_are_run_at_load_6_12():
    commands_at_load('6.12')


# ---- switching, sets ----

@case
def events_are_switched_by_glob():
    with EventWorld(smp=1, rings=1) as w:
        w.do('fire', 1)
        w.run('event off dlogevents:p?ng')
        w.do('fire', 2)
        shown = {row['name']: row for row in w.show('events')}
        assert shown[PING]['on'] == shown[PONG]['on'] == 'off'
        assert shown['dlogevents:low']['on'] == 'on'
        assert shown[PING]['kind'] == 'declared'
        w.run('event on ping')
        w.do('fire', 3)
        assert [n for _, n in w.numbers()] == [1, 1, 2, 3], w.numbers()


@case
def an_event_is_recorded_while_one_of_its_sets_is_armed():
    with EventWorld(smp=1, rings=1) as w:
        w.run('event on %s set=A' % PING, 'event on %s set=B' % PING,
              'event on %s set=B' % PONG)
        assert w.set_of(PING) == 'A,B' and w.set_of(PONG) == 'B'
        fired = wanted = 0
        steps = (('', 0), ('set arm A', 1), ('set arm B disarm A', 1),
                 ('set arm A', 1), ('set disarm A B', 0), ('set arm B', 1),
                 ('event off %s' % PING, 0), ('set arm A', 0),
                 # In no set any more.
                 ('event on %s; set disarm A B' % PING, 1))
        for command, recorded in steps:
            w.run(command)
            w.do('fire', 1)
            fired += 1
            wanted += recorded
            assert len(w.numbers()) == wanted, (command, w.numbers())
        sets = [(row['name'], row['armed'], row['events'])
                for row in w.show('sets')]
        assert sets == [('A', 'no', '0'), ('B', 'no', '1')], sets
        for n in range(62):
            w.run('event on %s set=s%d' % (PONG, n))
        errno, sentence = w.refused('event on %s set=more' % PONG)
        assert errno == 'ENOSPC' and '64 sets' in sentence, sentence


FLIP = r"""cd /sys/module/dlogevents/parameters
(echo 5000 > alternate; touch /tmp/done) &
n=0
while [ ! -e /tmp/done ]; do
	echo "$ON" > /dev/dlog; usleep 3000
	echo "$OFF" > /dev/dlog; usleep 3000
	n=$((n + 2))
done
echo $n
"""


def flip(w, on, off):
    """How often on and off were said, and how often that was seen."""
    flips = int(w.guest.must("ON='%s'; OFF='%s'; rm -f /tmp/done\n%s" %
                             (on, off, FLIP)))
    return flips, w.result('changes')


def one_instant(kernel):
    """Pings on one CPU and pongs on the other, each begun when the one before
    has returned: if the set is switched at one instant, recording begins and
    ends between two of them, so it changes at most as often as the set was
    switched, and what is recorded between two changes has no gap.  An event
    of the pair that were switched after the other would change more often.
    """
    with EventWorld(kernel, size='64M') as w:
        w.run('event on p?ng set=pair')
        flips, changes = flip(w, 'set arm pair', 'set disarm pair')
        recorded = sorted(w.numbers(), key=lambda item: item[1])
        for name, n in recorded:
            assert name == ('pong' if n & 1 else 'ping'), (name, n)
        numbers = [n for _, n in recorded]
        assert len(numbers) == len(set(numbers))
        stretches = 1 + sum(b != a + 1 for a, b in zip(numbers, numbers[1:]))
        print('%d switches, %d changes seen, %d stretches of %d events' % (
            flips, changes, stretches, len(numbers)))
        assert 4 <= changes <= flips, changes
        assert stretches == (changes + 1) // 2, (stretches, changes)
        # What is switched one after the other is seen to be.
        w.run('event on p?ng')
        flips, changes = flip(w, 'event on ping; event on pong',
                              'event off ping; event off pong')
        print('one by one: %d switches, %d changes seen' % (flips, changes))
        assert changes > flips


@case
def a_set_is_switched_at_one_instant_6_1():
    one_instant('6.1')


@case(long=True)
def a_set_is_switched_at_one_instant_6_12():
    one_instant('6.12')


# ---- consumers ----

def priorities(kernel):
    with EventWorld(kernel, smp=1, rings=1) as w:
        w.do('chain', 1)
        w.do('fire', 2)
        order = ['high', 'first', 'second', 'ping', 'low']
        assert w.numbers() == [(name, n) for n in (1, 2) for name in order], \
            w.numbers()
        rows = [(row['priority'], row['consumer'], row['count'])
                for row in w.show('consumers')]
        assert rows == [('30', 'high', '2'), ('10', 'first', '2'),
                        ('10', 'second', '2'), ('0', 'record', '2'),
                        ('-5', 'low', '2')], rows
        # Of priority 5: between second and the record.
        w.do('odd', 1)
        w.do('fire', 2)
        assert w.numbers()[10:] == [(name, 1) for name in order[:3]] + \
            [(name, 2) for name in order], w.numbers()
        w.do('odd', 0)
        w.do('chain', 0)
        assert not w.show('consumers')
        w.do('again', 1)
        w.do('fire', 1)
        assert w.numbers()[18:] == [('ping', 1001), ('ping', 1)]
        assert w.counts() == {(PING, 'again'): 1, (PING, 'record'): 1}
        # A module's own consumer is not ours to remove; going, it does so.
        assert w.refused('consumer remove %s again' % PING)[0] == 'ENOENT'
        status, out = w.guest.sh('echo 1 > %sagain' % EVENTS)
        assert status != 0, 'added twice'
        w.guest.must('rmmod dlogevents; insmod /dlogevents.ko')
        assert not w.show('consumers')
        w.do('fire', 1)
        assert w.numbers()[20:] == [('ping', 1)]
        w.clean()


@case
def consumers_run_by_priority_6_1():
    priorities('6.1')


@case(long=True)
def consumers_run_by_priority_6_12():
    priorities('6.12')


@case
def consumers_of_the_driver():
    with EventWorld(smp=1, rings=1) as w:
        w.run('consumer add %s count' % PING, 'consumer add %s once' % PING,
              'consumer add %s stack' % PING)
        assert w.refused('consumer add %s once 7' % PING)[0] == 'EEXIST'
        w.do('fire', 5)
        assert w.counts() == {(PING, 'count'): 5, (PING, 'once'): 5,
                              (PING, 'record'): 1, (PING, 'stack'): 1}
        found = [e for e in entries(w.region)
                 if e['kind'] in ('event', 'stack')]
        assert [e['kind'] for e in found] == ['event', 'stack'], found
        # Who called dlog_event() is on top.
        frames = found[1]['text'].split('\n')[1:]
        assert re.match(r'\s*(set_fire|fire)\+0x', frames[0]), frames
        assert any('param_attr_store' in frame for frame in frames), frames
        w.run('consumer remove %s once' % PING,
              'consumer remove %s stack' % PING,
              'consumer add %s stop' % PING)
        w.do('fire', 5)
        assert w.numbers() == [('ping', 1), ('ping', 1)], w.numbers()
        assert w.status('recording') == 'no'
        assert w.status('stopped_by_guest') == 'yes'
        assert w.counts()[PING, 'count'] == 6
        # With a priority above 0 it stops before the record.
        w.run('consumer remove %s stop' % PING,
              'consumer add %s stop 1' % PING, 'start')
        w.do('fire', 5)
        assert len(w.numbers()) == 2 and w.status('recording') == 'no'
        w.run('consumer remove %s stop' % PING, 'start')
        w.do('fire', 1)
        assert len(w.numbers()) == 3
        # Unloading with consumers and sets left.
        w.run('consumer add %s stack' % PING, 'event on p?ng set=left')
        w.guest.must('rmmod dlogevents && rmmod dlog')
        w.load_events()
        w.do('fire', 1)
        assert len(w.numbers()) == 4 and not w.show('consumers')
        w.clean()


def stops_anywhere(kernel):
    """A consumer that stops recording, called in the midst of starting it."""
    with EventWorld(kernel) as w:
        w.run('function on _raw_spin_unlock_irqrestore',
              'consumer add ftrace:function stop')
        until('the stop', lambda: w.status('recording') == 'no')
        for _ in range(10):
            w.run('start')
            until('the stop', lambda: w.status('recording') == 'no')
        w.run('consumer remove ftrace:function stop', 'start',
              'function off _raw_spin_unlock_irqrestore')
        w.do('fire', 1)
        assert w.numbers() == [('ping', 1)], w.numbers()
        w.clean()


@case
def recording_can_be_stopped_anywhere_6_1():
    stops_anywhere('6.1')


@case(long=True)
def recording_can_be_stopped_anywhere_6_12():
    stops_anywhere('6.12')


def removal(kernel):
    with EventWorld(kernel, size='16M') as w:
        w.guest.must('echo 100 > %schurn' % EVENTS, timeout=200)
        hits, late = w.result('hits'), w.result('late')
        print('%d hits, %d after removal' % (hits, late))
        assert late == 0 and hits > 100
        kinds = collections.Counter(n for _, n in w.numbers())
        assert set(kinds) == {1, 2, 3}, kinds       # task, hardirq, NMI
        w.clean()


@case
def a_consumer_is_removed_under_load_6_1():
    removal('6.1')


@case(long=True)
def a_consumer_is_removed_under_load_6_12():
    removal('6.12')


def traced(kernel):
    """What ftrace brings, in sets and with consumers as any other event."""
    # Each command in a guest is a few programs; these are five more.
    run = '; '.join(['/bin/busybox true'] * 5)
    event = 'sched:sched_process_exec'
    with EventWorld(kernel, load=False) as w:
        w.load_driver()
        assert 'switched on first' in w.refused(
            'consumer add %s count' % event)[1]
        w.run('event on %s set=S' % event, 'consumer add %s count' % event,
              'consumer add %s stack' % event)
        w.guest.must(run)
        assert w.counts()[event, 'count'] == 0 and not w.events()
        w.run('set arm S')
        w.guest.must(run)
        w.run('set disarm S')
        recorded = [name for name, _ in w.events()]
        assert len(recorded) >= 5 and set(recorded) == {event}, recorded
        assert w.counts() == {(event, who): len(recorded)
                              for who in ('count', 'record', 'stack')}
        stacks = [e['text'] for e in entries(w.region)
                  if e['kind'] == 'stack']
        assert len(stacks) == len(recorded)
        assert all('bprm_execve' in text for text in stacks), stacks
        # Off, and out of the set; the consumers stay.
        w.run('set arm S', 'event off %s' % event)
        before = w.counts()
        w.guest.must(run)
        assert w.counts() == before and before[event, 'count'] >= 5
        w.run('function on begin_new_exec',
              'consumer add ftrace:function once')
        w.guest.must(run)
        assert [name for name, _ in w.events()].count('ftrace:function') == 1
        assert w.counts()['ftrace:function', 'once'] >= 5
        assert w.show('functions') == [{'filter': 'begin_new_exec'}]
        w.run('function off begin_new_exec')
        w.guest.must('rmmod dlog')
        w.clean()


@case
def trace_events_take_consumers_6_1():
    traced('6.1')


@case(long=True)
def trace_events_take_consumers_6_12():
    traced('6.12')


@case
def nothing_is_recorded_before_the_set_is_armed():
    with EventWorld(load=False) as w:
        w.load_driver()
        w.guest.must('dd if=/dev/zero of=/dev/null bs=1 2>/dev/null & '
                     'echo $! > /tmp/dd')
        for event in ('sys_enter', 'sys_exit'):
            w.run('event on raw_syscalls:%s set=S' % event)
        assert not w.events()
        w.run('set arm S')
        until('events', w.events)
        w.guest.must('kill $(cat /tmp/dd)')


@case(long=True)
def many_filters_of_functions_are_shown():
    """More than vsnprintf() takes of one string with a precision."""
    with EventWorld(load=False) as w:
        w.load_driver()
        w.guest.must('p=vfs_fsync; i=0; while [ $i -lt 400 ]; do p="*$p"; '
                     'i=$((i + 1)); done; i=0; while [ $i -lt 85 ]; do '
                     'p="*$p"; echo "function on $p" > /dev/dlog || exit 1; '
                     'i=$((i + 1)); done', timeout=200)
        assert [row['filter'] for row in w.show('functions')] == [
            n * '*' + 'vfs_fsync' for n in range(401, 486)]
        w.clean()


# ---- user space ----

FIELDS = 'u8 a; s16 b; x32 c; u64 d; char e[3]; str f; bytes g; u8 h'
GOOD = struct.pack('<BhIQ3sH5sH2sB', 1, -2, 3, 4, b'abc', 5, b'hello', 2,
                   b'\0\xff', 9)

NAMES = ('', ':', 'a', 'a:', ':b', 'a:b:c', 'a b:c', 'a:b ', 'a:b\t', 'a.b:c',
         'a/b:c', 'ä:b', 'a:%s' % (254 * 'x'))
DECLARED = ('u32', 'u32 ', 'u7 a', 'u128 a', 'u a', 'u032 a', 'u32 1a',
            'u32 a[2]', 'char a', 'char a[]', 'char a[0]', 'char a[-1]',
            'char a[65536]', 'char a[1', 'char a[ 1]', 'char [2]', 'str',
            'string s', 'byte s', 'u32 a, u32 b', 'u32 a;; u32 b', '; u32 a',
            'u08 a', 'u32 a b', 'u32 %s' % (64 * 'n'), 'struct x y', 'u32 a.b',
            'char a[65535]; u8 b', ';'.join(129 * ['u8 a']))


def user_events(kernel):
    with EventWorld(kernel, smp=1, rings=1, load=False) as w:
        w.load_driver()
        for name in NAMES:
            assert w.ioc('event', name, 'u32 a') == (1, 'EINVAL'), name
        assert w.ioc('event', 'a:%s' % (300 * 'x'), '') == (1, 'EINVAL')
        for fields in DECLARED:
            assert w.ioc('event', 'a:b', fields) == (1, 'EINVAL'), fields
        status, number = w.ioc('event', 'user-1:all_types', FIELDS)
        assert status == 0, number
        for data in (GOOD, GOOD.replace(b'hello', b'HELLO')):
            assert w.ioc('record', number, data.hex()) == (0, '')
        for data in (b'', GOOD[:-1], GOOD + b'x', GOOD[:18],
                     GOOD[:18] + b'\xff\xff' + GOOD[20:],
                     GOOD[:25] + b'\x03\0' + GOOD[27:]):
            assert w.ioc('record', number, data.hex()) == (1, 'EINVAL'), data
        for other, errno in (('0', 'EINVAL'), ('4096', 'EINVAL'),
                             ('4095', 'ENOENT')):
            assert w.ioc('record', other, '00') == (1, errno), other
        status, empty = w.ioc('event', 'user-1:nothing', '')
        assert (status, w.ioc('record', empty, '')) == (0, (0, ''))
        status, much = w.ioc('event', 'user-1:much', 'bytes b')
        # Longer than a sub-buffer, than what user space may hand over.
        assert w.ioc('record', much, 'fdff', 65533) == (1, 'EMSGSIZE')
        assert w.ioc('record', much, 'ffff', 65535) == (1, 'EMSGSIZE')
        w.run('event off user-1:nothing')
        assert w.ioc('record', empty, '') == (1, 'EAGAIN')
        w.run('event on nothing', 'stop')
        assert w.ioc('record', empty, '') == (1, 'EAGAIN')
        assert w.events() == [('user-1:all_types', GOOD), (
            'user-1:all_types', GOOD.replace(b'hello', b'HELLO')),
            ('user-1:nothing', b'')], w.events()
        w.clean()


@case
def user_space_declares_and_appends_6_1():
    user_events('6.1')


@case(long=True)
def user_space_declares_and_appends_6_12():
    user_events('6.12')


@case
def ids_are_the_same_in_every_boot():
    types = [('a:one', 'u32 x'), ('a:two', 'u32 x'), ('a:one', 'u64 x'),
             ('b:one', 'u32 x')]
    with EventWorld(load=False) as w:
        w.load_driver()
        ids = {t: w.ioc('event', *t)[1] for t in types}
        assert len(set(ids.values())) == 4, ids
        w.guest.system_reset()
        w.guest.wait_ready()
        w.load_driver()
        status, new = w.ioc('event', 'c:new', 'u8 x')
        assert status == 0 and new not in ids.values()
        for t in reversed(types):
            assert w.ioc('event', *t) == (0, ids[t]), (t, ids)
        # Not what an earlier boot had, but this one has not.
        shown = {row['id']: row['name'] for row in w.show('events')}
        assert shown == dict([(new, 'c:new')] + [
            (number, name) for (name, _), number in ids.items()]), shown


@case
def a_name_is_that_of_the_layout_registered_last():
    with EventWorld(load=False) as w:
        w.load_driver()
        first = w.ioc('event', 'a:x', 'u32 n')[1]
        second = w.ioc('event', 'a:x', 'u64 n')[1]
        assert w.ioc('event', 'a:x', 'u32 n') == (0, first) and first < second
        w.run('consumer add a:x once')
        for _ in range(3):
            assert w.ioc('record', second, 16 * '0') == (0, '')
        assert w.ioc('record', first, 8 * '0') == (0, '')
        assert w.ioc('record', first, 8 * '0') == (1, 'EAGAIN')
        # What is called like an event of ftrace takes nothing from it.
        assert w.ioc('event', 'ftrace:function', 'u32 n')[0] == 0
        w.run('function on vfs_fsync', 'event off ftrace:function',
              'function on vfs_fsync')
        on = [row['on'] for row in w.show('events')
              if row['kind'] == 'trace']
        assert on == ['on'], on


@case
def broken_rules_are_shown_in_the_guest():
    """As dlogevents.ko hands them over."""
    with EventWorld() as w:
        w.do('call', 1)
        lines = [line.split('] ', 1)[1].rstrip('\r') for line in
                 w.guest.must('cat /dev/dlog').split('\n') if 'call: ' in line]
        args = ', '.join('0x%x' % n for n in range(1, 9))
        assert lines[0] == 'call: strlen(0x1): s must not be NULL, called ' \
            'from probe+0x12/0x40 [demo]', lines
        assert lines[1].startswith('call: kmalloc(%s) = 0x8: ' %
                                   args.removesuffix(', 0x8')), lines
        assert re.search(r'rrr, called from (set_call|\w+)\+0x\w+/0x\w+ '
                         r'\[dlogevents\]$', lines[1]), lines
        assert lines[2] == 'call: f(): , called from 0x5', lines
        texts = [e['text'] for e in entries(w.region) if e['kind'] == 'call']
        assert texts == lines, texts


@case
def a_full_catalog_is_an_error_and_loses_nothing():
    with EventWorld(load=False, create=('--catalog', '16K')) as w:
        w.load_driver()
        used = int(w.status('catalog_used'))
        size = int(w.status('catalog_size'))
        status, out = w.ioc('fill')
        assert status == 1 and out.split('\n')[1] == 'ENOSPC', out
        number = int(out.split('\n')[0])
        # 16 bytes of header, 8 of lengths, the two texts with their NULs,
        # to a multiple of 8 (docs/abi.md, section 8).
        fits = 0
        while True:
            used += -(-(24 + len('fill:number_%d' % fits) + 1 +
                        len('u64 a; u64 b') + 1) // 8) * 8
            if used > size:
                break
            fits += 1
        assert number == fits, (number, fits)
        # Those that are there can be had and used, also in the next boot.
        w.guest.system_reset()
        w.guest.wait_ready()
        w.load_driver()
        status, one = w.ioc('event', 'fill:number_%d' % (fits - 1),
                            'u64 a; u64 b')
        assert status == 0, one
        assert w.ioc('record', one, 16 * '00') == (0, '')
        assert w.ioc('event', 'one:more', 'u64 a')[1] == 'ENOSPC'
        assert w.events() == [('fill:number_%d' % (fits - 1), bytes(16))]
        assert b'fill:number_%d' % (fits - 1) in tool('dlog-read', w.region)


@case(timeout=600)
def nonsense_does_no_harm():
    with EventWorld() as w:
        w.guest.must('/dlogioc fuzz 1 20000 & /dlogioc fuzz 2 20000; wait',
                     timeout=400)
        w.run('start')
        w.guest.must('head -c 3000 /dev/urandom > /dev/dlog; :')
        assert w.ioc('event', 'still:here', 'u8 a')[0] == 0
        w.guest.must('rmmod dlogevents && rmmod dlog')
        w.load_events()
        w.do('fire', 3)
        assert [n for name, n in w.numbers() if name == 'ping'][-3:] == \
            [1, 2, 3]
        w.clean()


if __name__ == '__main__':
    main()
