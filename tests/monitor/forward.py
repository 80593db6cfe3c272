#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Forwarding: what the sinks of dlogd receive is what the guests committed,
whatever is killed, full, slow or hostile meanwhile.

The guests are simguests', whose ledger says what was committed."""

import glob
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
import urllib.request

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'scenarios'))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'cli'))
sys.path.insert(0, HERE)

import ftrace  # noqa: E402 (needs the paths above)
from lib.case import case, main, skip, until  # noqa: E402 (needs the paths above)
from peers import BUILD, World, free_port, read_json  # noqa: E402

JSON = {'out': {'type': 'json', 'path': 'DIR/out.json'}}
BATCH = 4096            # records that are on their way at most


def all_of(world, ledger, seconds=20, path='out.json'):
    """The file once it has all that the ledger knows."""
    def complete():
        received, bad = read_json(world.path(path))
        return received.missing(ledger) == 0 and (received, bad)
    return until('all records in ' + path, complete, seconds)


def missed_of(received):
    return sum(e['missed'] for e in received.events if e['event'] == 'missed')


def json_kills(times, most):
    with World(JSON, {'guests': 4, 'size': '64M', 'rate': 5000}) as world:
        world.kills(times, most=most)
        ledger = world.quiet()
        received, bad = all_of(world, ledger)
        assert sum(ledger.values()) > 1000, ledger
        assert bad <= times, bad
        assert received.repeats() <= times * BATCH, received.repeats()
        assert not missed_of(received)
        print('%d records, %d repeated, %d lines cut short, %d kills'
              % (received.total(), received.repeats(), bad, times))
        world.dlogd.stop()


@case
def json_has_all_after_10_kills():
    json_kills(10, 0.6)


@case(long=True, timeout=600)
def json_has_all_after_100_kills():
    json_kills(100, 0.6)


@case
def an_orderly_end_repeats_nothing():
    with World(JSON, {'guests': 3, 'rate': 2000, 'size': '32M'}) as world:
        for _ in range(5):
            world.dlogd.start()
            time.sleep(0.5)
            world.dlogd.stop()
        world.dlogd.start()
        received, bad = all_of(world, world.quiet())
        assert not bad and not received.repeats(), received.repeats()


@case
def a_damaged_cursor_slot_is_not_used():
    """The other slot goes on from the batch before; without both it begins
    at the oldest record, and says so."""
    with World(JSON, {'rate': 1000, 'size': '32M'}) as world:
        world.dlogd.start()
        time.sleep(1.5)
        world.dlogd.kill()
        cursor, = glob.glob(os.path.join(world.dlogd.cursors, '*.out'))
        before, _ = read_json(world.path('out.json'))

        def damage(*slots):
            with open(cursor, 'r+b') as f:
                size = os.fstat(f.fileno()).st_size // 2
                for slot in slots:
                    f.seek(slot * size + 48)
                    byte = f.read(1)[0]
                    f.seek(slot * size + 48)
                    f.write(bytes([byte ^ 1]))

        damage(random.randrange(2))
        world.dlogd.start()
        ledger = world.quiet()
        received, _ = all_of(world, ledger)
        assert received.repeats() <= BATCH
        assert 'cursor' not in world.dlogd.said(), world.dlogd.said()
        world.dlogd.stop()

        repeats, total = received.repeats(), sum(ledger.values())
        damage(0, 1)
        world.dlogd.start()
        until('everything again',
              lambda: read_json(world.path('out.json'))[0].repeats()
                      >= total + repeats,
              10)
        assert 'begins at the oldest' in world.dlogd.said()
        assert before.total() > 100
        world.dlogd.stop()


@case
def a_new_sink_may_begin_at_the_newest():
    sinks = {'out': {'type': 'json', 'path': 'DIR/out.json',
                     'start': 'newest'}}
    with World(sinks, {'rate': 1000}) as world:
        until('records', lambda: sum(world.sims.ledger().values()) > 500, 10)
        old = world.quiet()
        world.dlogd.start()
        until('a cursor',
              lambda: glob.glob(os.path.join(world.dlogd.cursors, '*.out')),
              10)
        # Killed before anything came: where it began is known all the same.
        world.dlogd.kill()
        world.sims.do('rate 1000')
        time.sleep(0.5)
        new = world.quiet()
        world.dlogd.start()
        count = sum(new.values()) - sum(old.values())
        until('what is new',
              lambda: read_json(world.path('out.json'))[0].total() >= count,
              10)
        received, _ = read_json(world.path('out.json'))
        for where, numbers in received.numbers.items():
            assert min(numbers) == old[where] + 1, (where, min(numbers), old)
            assert max(numbers) == new[where]
        world.dlogd.stop()


@case
def what_is_overwritten_is_counted_exactly():
    with World(JSON, {'rate': 500, 'size': '1M'}) as world:
        world.dlogd.start()
        time.sleep(1)
        world.dlogd.kill()
        world.sims.do('rate 40000')
        # More than three laps, however long that takes here.
        until('a lap', lambda: sum(world.sims.ledger().values()) > 40000, 30)
        ledger = world.quiet()
        world.dlogd.start()

        def complete():
            received, _ = read_json(world.path('out.json'))
            missed = missed_of(received)
            missing = received.missing(ledger)
            return missing and missing == missed and received
        received = until('missing records are the missed ones', complete, 10)
        time.sleep(0.5)
        assert complete(), 'more was told later'
        print('%d missed of %d' % (received.missing(ledger),
                                   sum(ledger.values())))
        world.dlogd.stop()


@case
def a_renamed_file_is_opened_anew():
    with World(JSON, {'rate': 2000, 'size': '32M'}) as world:
        world.dlogd.start()
        for i in range(3):
            until('a file', lambda: os.path.exists(world.path('out.json')), 5)
            time.sleep(0.5)
            os.rename(world.path('out.json'), world.path('old%d' % i))
        ledger = world.quiet()

        def complete():
            data = b''
            for name in ('old0', 'old1', 'old2', 'out.json'):
                if os.path.exists(world.path(name)):
                    with open(world.path(name), 'rb') as f:
                        data += f.read()
            with open(world.path('all'), 'wb') as f:
                f.write(data)
            received, bad = read_json(world.path('all'))
            return not received.missing(ledger) and (received, bad)
        received, bad = until('all in the four files', complete, 10)
        assert not bad and not received.repeats()
        world.dlogd.stop()


SYNC = re.compile(r'\d+ +(write|pwrite64|fdatasync|close)\((\d+)<([^>]*)>')


@case
def data_is_synced_before_the_cursor():
    """When a guest is silent, a file is rotated, a sink fails, a guest goes,
    and dlogd ends."""
    if not shutil.which('strace'):
        skip('no strace')
    sinks = {'out': {'type': 'json', 'path': 'DIR/data/out.json'}}
    with World(sinks) as world:
        data, trace = world.path('data'), world.path('trace')
        os.mkdir(data)
        world.dlogd.wrapper = [
            'strace', '-D', '-f', '-y', '-qq', '-o', trace,
            '-e', 'trace=write,pwrite64,fdatasync,close']
        world.dlogd.start()
        for i, name in enumerate(('a', 'b', 'a', 'b')):
            world.region(name, 'boot 6.1 1\ntext 6 1 r%d\n' % i)
            until('a record',
                  lambda: texts_of(world, *(os.path.join('data', f)
                          for f in os.listdir(data))).count('r%d' % i),
                  10)
            time.sleep((0, 1.5, 0.1, 0.8)[i])
            if i == 0:
                os.rename(os.path.join(data, 'out.json'),
                          os.path.join(data, 'old'))
            if i == 2:
                os.unlink(world.path('regions/b.img'))
        world.dlogd.stop()

        dirty, cursors = set(), 0
        with open(trace) as f:
            for line in f:
                found = SYNC.match(line)
                if not found:
                    continue
                call, fd, path = found.groups()
                if path.startswith(data + '/'):
                    assert call != 'close' or fd not in dirty, line
                    if call == 'write':
                        dirty.add(fd)
                    else:
                        dirty.discard(fd)
                elif '/cursors/' in path and call == 'fdatasync':
                    cursors += 1
                    assert not dirty, line
        assert cursors >= 3, cursors


@case
def a_full_disk_is_waited_for():
    disk = 'DIR/disk'
    sinks = {'out': {'type': 'json', 'path': disk + '/out.json'},
             'other': {'type': 'json', 'path': 'DIR/other.json'}}
    with World(sinks, {'rate': 5000, 'size': '32M'}) as world:
        os.mkdir(world.path('disk'))
        if os.system('mount -t tmpfs -o size=512k none ' + world.path('disk')):
            skip('cannot mount a tmpfs')
        world.closing.append(
            lambda: os.system('umount -l ' + world.path('disk')))
        world.dlogd.start()
        until('ENOSPC', lambda: 'No space left' in world.dlogd.said(), 10)
        time.sleep(0.5)
        os.system('mount -o remount,size=256M ' + world.path('disk'))
        ledger = world.quiet()
        received, bad = all_of(world, ledger, path='disk/out.json')
        # What there was no room for was taken back each time.
        assert not bad and not received.repeats(), (bad, received.repeats())
        all_of(world, ledger, 1, 'other.json')
        assert 'up again' in world.dlogd.said()
        world.dlogd.stop()


@case
def levels_and_names_are_filters():
    sinks = {'loud': {'type': 'json', 'path': 'DIR/loud', 'level': 'warn'},
             'one': {'type': 'json', 'path': 'DIR/one', 'guests': 'a*'}}
    with World(sinks) as world:
        for name in ('a1', 'b1'):
            world.region(name, 'boot 6.1 1\n' + ''.join(
                'text %d %d level %d\n' % (level, level + 1, level)
                for level in range(8)))
        world.dlogd.start()

        def texts(name):
            received, _ = read_json(world.path(name), keep=True)
            return sorted((r['guest'], r['level']) for r in received.records)
        until('records',
              lambda: len(texts('loud')) >= 10 and len(texts('one')) >= 8, 10)
        time.sleep(0.3)
        assert texts('loud') == [(g, n) for g in ('a1', 'b1')
                                 for n in range(5)], texts('loud')
        assert texts('one') == [('a1', n) for n in range(8)]
        world.dlogd.stop()


@case
def a_limit_holds_back_one_guest_alone():
    more = '[guest sim0]\nrate = 200\n'
    with World(JSON, {'guests': 2, 'rate': 2000, 'size': '32M'},
               more) as world:
        world.dlogd.start()
        time.sleep(4)
        received, _ = read_json(world.path('out.json'))
        ledger = world.quiet()
        count = {'sim0': 0, 'sim1': 0}
        for (guest, _, _), numbers in received.numbers.items():
            count[guest] += len(numbers)
        said = sum(n for (g, _, _), n in ledger.items() if g == 'sim1')
        # A second's burst and 200 a second; how long it ran is not exact.
        assert 200 <= count['sim0'] <= 200 * 8, count
        assert count['sim1'] > said / 2, (count, said)
        world.dlogd.stop()


def texts_of(world, *names):
    """Of the sink's files: all records' texts."""
    return sorted(record['text'] for name in names for record in
                  read_json(world.path(name), keep=True)[0].records)


@case
def a_guest_that_goes_is_read_to_the_end():
    """Also when it waits for its rate limit, or for the sink."""
    sinks = {'out': {'type': 'json', 'path': 'DIR/out/out.json'}}
    with World(sinks, more='[limits]\nrate = 100\n') as world:
        os.mkdir(world.path('out'))
        texts = ['r%03d' % i for i in range(400)]
        world.region('a', 'boot 6.1 1\n' + ''.join(
            'text 6 %d %s\n' % (i + 1, text)
            for i, text in enumerate(texts)))
        world.dlogd.start()
        until('a second\'s records',
              lambda: len(texts_of(world, 'out/out.json')) >= 100, 10)
        os.unlink(world.path('regions/a.img'))
        time.sleep(0.5)
        os.rename(world.path('out'), world.path('old'))
        until('sink down', lambda: 'trying again' in world.dlogd.said(), 10)
        time.sleep(0.5)
        assert len(texts_of(world, 'old/out.json')) < 400
        os.mkdir(world.path('out'))

        def complete():
            got = set(texts_of(world, 'old/out.json', 'out/out.json'))
            return got >= set(texts)
        until('all records', complete, 20)
        world.dlogd.stop()


def counters(port, guest):
    """{name: value} of dlogd's metrics of what one guest's sink has had."""
    with urllib.request.urlopen('http://127.0.0.1:%d/metrics' % port) as f:
        text = f.read().decode()
    return {name: int(value) for name, value in re.findall(
        r'^(\w+)\{guest="%s",sink="out"\} (\d+)$' % guest, text, re.M)}


@case
def a_guests_counters_outlive_its_region():
    port = free_port()
    with World(JSON, more='listen = 127.0.0.1:%d\n' % port) as world:
        world.region('a', 'boot 6.1 1\n' + 'text 6 1 old\n' * 50)
        world.dlogd.start()
        until('the old ones',
              lambda: texts_of(world, 'out.json').count('old') == 50, 10)
        name = 'dlogd_guest_forwarded_records_total'
        before = counters(port, 'a')
        assert before[name] >= 50, before
        world.region('a', 'boot 6.1 1\n' + 'text 6 1 new\n' * 5)
        until('the new ones',
              lambda: texts_of(world, 'out.json').count('new') == 5, 10)
        end = time.monotonic() + 2
        while time.monotonic() < end:
            after = counters(port, 'a')
            assert set(after) == set(before)
            assert all(after[key] >= before[key] for key in before), (
                before, after)
            time.sleep(0.1)
        assert after[name] >= before[name] + 5, (before, after)
        world.dlogd.stop()


@case
def a_second_guest_with_a_copied_region_is_left_out():
    with World(JSON) as world:
        world.region('a', 'boot 6.1 1\ntext 6 1 once\n')
        with open(world.path('regions/a.img'), 'rb') as f:
            data = f.read()
        world.dlogd.start()
        until('a record', lambda: read_json(world.path('out.json'))[0].ids, 10)
        with open(world.path('b.img'), 'wb') as f:
            f.write(data)
        os.rename(world.path('b.img'), world.path('regions/b.img'))
        until('a message', lambda: 'has the UUID of' in world.dlogd.said(), 10)
        time.sleep(0.5)
        assert not read_json(world.path('out.json'))[0].repeats()
        world.dlogd.stop()


@case
def what_happens_to_a_guest_is_told_too():
    with World(JSON, {'rate': 50}) as world:
        world.dlogd.start()
        until('a record', lambda: read_json(world.path('out.json'))[0].ids, 10)
        world.sims.do('panic sim0')

        def told():
            events = read_json(world.path('out.json'))[0].events
            return [e for e in events if e['event'] == 'panicked']
        event = until('the event', told, 10)[0]
        assert event['guest'] == 'sim0' and event['level'] == 2, event
        assert event['boot'] == 1 and event['real'].startswith('20'), event
        received, _ = read_json(world.path('out.json'))
        assert not received.repeats()
        world.dlogd.stop()


@case
def mistakes_are_told_with_their_line():
    wrong = (
        ({'type': 'carrier-pigeon'}, 'carrier-pigeon'),
        ({'type': 'json'}, 'path'),
        ({'type': 'json', 'path': '-', 'color': 'red'}, 'color'),
        ({'type': 'json', 'path': '-', 'start': 'middle'}, 'middle'),
        ({'type': 'syslog', 'address': 'tcp:host'}, 'address'),
        ({'type': 'syslog', 'address': 'tls:h:1', 'ca': '/nowhere'},
         '/nowhere'),
        ({'type': 'nats', 'duplicates': 'long'}, 'long'),
        ({'type': 'nats', 'stream': 'a.b'}, 'stream'),
    )
    for keys, word in wrong:
        with World({'bad': keys}) as world:
            world.dlogd.start()
            assert world.dlogd.process.wait(10), keys
            said = world.dlogd.said()
            assert 'dlogd.conf:' in said and '[sink bad]' in said, said
            assert word in said, (word, said)


@case
def a_json_line_is_what_dlog_read_says():
    with World(JSON) as world:
        world.region('a', 'boot 6.1 1700000000000000000\nnote 5\n'
                     'printk 6 T12 7 plain "quoted" \\\\ text\n'
                     'text 3 9 bad \\xff\\x00\\x1b[31m\\n end\n'
                     'event net_drop int;len 11 01020304\n'
                     'state 2 13 why\n' +
                     # One says the name of the next one's thread.
                     ftrace.switch(15, ('cat', 7, 120), 1, ('bash', 8, 120),
                                   2) +
                     ftrace.wake('sched_waking', 17, 8, ('cat', 7, 120), 0, 3))
        expected = subprocess.run(
            [os.path.join(BUILD, 'bin', 'dlog-read'), '-o', 'json',
             world.path('regions/a.img')], check=True, capture_output=True)
        expected = [json.loads(line) for line in expected.stdout.splitlines()]
        world.dlogd.start()

        def records():
            received, _ = read_json(world.path('out.json'), keep=True)
            return len(received.records) >= len(expected) and received.records
        got = until('records', records, 10)
        for record in got:
            assert record.pop('guest') == 'a'
            record.pop('id')
        for record in expected:
            record.pop('file', None)
        assert [r['comm'] for r in got if 'comm' in r] == ['cat', 'bash'], got
        assert len(expected) >= 5 and got == expected, (got, expected)
        world.dlogd.stop()


if __name__ == '__main__':
    main()
