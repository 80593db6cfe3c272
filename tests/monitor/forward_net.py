#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Forwarding to others' programs: syslog servers, systemd-journald and
nats-server, all real or of the grammar of their RFC."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
import urllib.request

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'scenarios'))
sys.path.insert(0, HERE)

from lib.case import case, main, skip, until  # noqa: E402 (needs the paths above)
from journal import Journal  # noqa: E402
from peers import (Daemon, Nats, Received, Syslog, World,  # noqa: E402
                   free_port, make_certificates, parse_syslog, read_json,
                   server_context)

BATCH = 4096
# What a guest may try, as mkregion writes it, and the line that it becomes.
HOSTILE = (
    ('one\\nTwo <6>Jan 1 fake: line', 'one\\nTwo <6>Jan 1 fake: line'),
    ('quote " bracket ] back \\\\ end', 'quote " bracket ] back \\ end'),
    ('esc \\x1b[31m bell \\x07 del \\x7f', 'esc \\x1b[31m bell \\x07 del \\x7f'),
    ('nul \\x00 cr \\x0d', 'nul \\x00 cr \\x0d'),
    ('bad \\xff\\xfe utf8 \\xc3', 'bad \\xff\\xfe utf8 \\xc3'),
    ('csi \\xc2\\x9b31m', 'csi \\xc2\\x9b31m'),
    ('good \\xc3\\xa4\\xe2\\x82\\xac', 'good ä€'),
    ('<script>alert(1)</script>', '<script>alert(1)</script>'),
)


def hostile_region(world):
    world.region('evil', 'boot 6.1 1700000000000000000\n' + ''.join(
        'printk 4 T7 %d %s\n' % (i + 1, text)
        for i, (text, _) in enumerate(HOSTILE)))


def syslog_sink(server, **keys):
    return {'log': {'type': 'syslog', 'address': '%s:127.0.0.1:%d' % (
        'tls' if server.context else server.kind, server.port), **keys}}


def check_all(world, server, seconds=60):
    """The server has all; how often something came again."""
    ledger = world.quiet()
    until('all records at the server',
          lambda: not server.received().missing(ledger), seconds)
    return server.received().repeats()


# ---- syslog ----

@case
def syslog_udp_is_rfc_5424():
    server = Syslog('udp')
    with World(syslog_sink(server)) as world:
        world.closing.append(server.close)
        hostile_region(world)
        world.dlogd.start()
        until('datagrams', lambda: len(server.frames) >= len(HOSTILE), 10)
        messages = [parse_syslog(frame) for frame in server.frames]
        bom = b'\xef\xbb\xbf'
        for message, (_, line) in zip(messages, HOSTILE):
            text = message['msg']
            # The BOM where it is UTF-8 and not plain ASCII, else none.
            assert text.startswith(bom) != line.isascii(), message
            assert text.removeprefix(bom).decode() == line, (message, line)
            assert not any(c < 0x20 or c == 0x7f for c in text), message
            assert message['pri'] == b'4' and message['host'] == b'evil'
            assert message['app'] == b'kernel' and message['proc'] == b'T7'
            assert message['msgid'] == b'printk'
            assert message['data']['boot'] == '1'
        world.dlogd.stop()


@case
def syslog_tcp_has_all_although_connections_end():
    server = Syslog('tcp')
    with World(syslog_sink(server), {'guests': 2, 'rate': 5000,
                                     'size': '64M'}) as world:
        world.closing.append(server.close)
        world.dlogd.start()
        for _ in range(8):
            time.sleep(random.uniform(0.1, 0.5))
            server.drop()
        world.dlogd.kill()
        world.dlogd.start()
        repeats = check_all(world, server)
        assert server.served >= 5, server.served
        assert repeats <= 9 * BATCH, repeats
        print('%d connections, %d repeated' % (server.served, repeats))
        world.dlogd.stop()


@case
def a_syslog_server_that_stops_reading_delays_nobody_else():
    server = Syslog('tcp')
    sinks = dict(syslog_sink(server), dead={
        'type': 'syslog', 'address': 'tcp:127.0.0.1:1'}, out={
        'type': 'json', 'path': 'DIR/out.json'})
    with World(sinks, {'rate': 20000, 'size': '64M'}) as world:
        world.closing.append(server.close)
        world.dlogd.start()
        time.sleep(1)
        server.stalled.set()
        time.sleep(3)
        # What the file lacks of what has been said meanwhile, in seconds.
        ledger = world.sims.ledger()
        said = sum(ledger.values())
        time.sleep(0.3)
        received, _ = read_json(world.path('out.json'))
        assert received.total() >= said, (received.total(), said)
        assert server.received().total() < said / 2, 'it was not stalled'
        server.stalled.clear()
        check_all(world, server)
        world.dlogd.stop()


@case
def syslog_tls_checks_who_is_there():
    with World({}, {'rate': 1000, 'size': '16M'}) as world:
        make_certificates(world.where)
        server = Syslog('tcp', server_context(world.where))
        world.closing.append(server.close)
        good = {'ca': world.path('ca.pem'), 'name': 'logs.example',
                'cert': world.path('client.pem'),
                'key': world.path('client.key')}
        wrong = (
            ({'ca': world.path('other.pem')}, 'certificate'),
            ({'name': 'logs.elsewhere'}, 'mismatch'),
            ({'name': '127.0.0.1'}, 'mismatch'),
        )
        for keys, word in wrong:
            one = Daemon(world.where,
                                    syslog_sink(server, **{**good, **keys}))
            one.start()
            try:
                until(keys, lambda: word in one.said(), 10)
            finally:
                one.stop()
            os.remove(one.log)
        assert not server.frames
        one = Daemon(world.where, syslog_sink(server, **good))
        one.start()
        time.sleep(1)
        one.kill()
        one.start()
        time.sleep(0.5)
        server.drop()
        check_all(world, server)
        one.stop()


@case
def a_long_message_is_cut_and_says_so():
    server = Syslog('tcp')
    with World(syslog_sink(server)) as world:
        world.closing.append(server.close)
        world.region('a', 'size 8388608\nsubbuf 65536\nboot 6.1 1\n'
                     'text 6 1 %s\n' % ('long ' * 4000))
        world.dlogd.start()
        until('a message', lambda: server.frames, 10)
        assert len(server.frames[0]) == 8192
        assert parse_syslog(server.frames[0])['msg'].endswith(b' [cut]')
        world.dlogd.stop()


# ---- journal ----

@case
def the_journal_has_fields_and_no_controls():
    journal = Journal()
    with World({'jn': {'type': 'journal'}}, None, '',
               journal.inside) as world:
        world.closing.append(journal.close)
        hostile_region(world)
        world.dlogd.start()
        until('the sink is down without a journald',
              lambda: 'cannot reach systemd-journald' in world.dlogd.said(),
              10)
        journal.start()
        until('entries', lambda: len(journal.entries()) >= len(HOSTILE), 20)
        entries = journal.entries()
        for entry, (_, line) in zip(entries, HOSTILE):
            assert entry['MESSAGE'] == line, (entry, line)
            assert entry['PRIORITY'] == '4' and entry['DLOG_BOOT'] == '1'
            assert entry['SYSLOG_IDENTIFIER'] == 'evil'
            assert entry['DLOG_GUEST'] == 'evil'
            assert entry['DLOG_RING'] == '0' and entry['DLOG_CALLER'] == 'T7'
            assert entry['DLOG_KIND'] == 'printk'
            assert entry['DLOG_ID'].endswith('-1-0-' + entry['DLOG_POSITION'])
            assert entry['DLOG_TIME'].startswith('0.00000000')
        plain = journal.show('cat')
        assert not any(c < 0x20 and c != 0x0a for c in plain), plain
        assert plain.count(b'\n') == len(HOSTILE), plain
        assert len({e['DLOG_ID'] for e in entries}) == len(HOSTILE)
        world.dlogd.kill()


@case
def the_journal_has_all_after_kills():
    journal = Journal()
    with World({'jn': {'type': 'journal'}},
               {'guests': 2, 'rate': 1000, 'size': '16M'}, '',
               journal.inside) as world:
        world.closing.append(journal.close)
        journal.start()
        world.kills(4, 0.1, 0.6)
        journal.stop()
        time.sleep(0.5)
        world.dlogd.kill()
        journal.start()
        world.dlogd.start()
        ledger = world.quiet()

        def complete():
            received = Received()
            for e in journal.entries():
                if 'DLOG_POSITION' in e:
                    received.add(e['DLOG_GUEST'], int(e['DLOG_BOOT']),
                                 int(e['DLOG_RING']), e['MESSAGE'],
                                 e['DLOG_ID'])
            return not received.missing(ledger) and received
        received = until('all records in the journal', complete, 20)
        assert received.repeats() <= 5 * BATCH
        print('%d records, %d repeated' % (received.total(),
                                           received.repeats()))
        world.dlogd.kill()


# ---- NATS ----

def nats_world(sims, more=None):
    if not shutil.which('nats-server'):
        skip('no nats-server')
    world = World({}, sims)
    nats = Nats(world.where)
    sinks = {'jet': {'type': 'nats', 'url': 'nats://127.0.0.1:%d' % nats.port,
                     **(more or {})}}
    world.dlogd = Daemon(world.where, sinks)
    world.closing.append(nats.close)
    return world, nats


def stream_is_exact(world, nats, seconds=30):
    """The stream has each committed record once."""
    ledger = world.quiet()

    def count():
        info = nats.call('$JS.API.STREAM.INFO.dlog', {})
        return info.get('state', {}).get('messages', 0) >= sum(ledger.values())
    until('all records in the stream', count, seconds)
    time.sleep(0.5)
    received = nats.received()
    assert not received.missing(ledger), received.missing(ledger)
    assert not received.repeats(), received.repeats()
    assert not [e for e in received.events if e['event'] == 'missed']
    return received


def jetstream_kills(times):
    world, nats = nats_world({'guests': 4, 'rate': 3000, 'size': '64M'})
    with world:
        nats.start()
        world.kills(times, 0.1, 0.9)
        received = stream_is_exact(world, nats)
        print('%d records exactly once after %d kills'
              % (received.total(), times))
        world.dlogd.stop()


@case
def jetstream_is_exact_after_10_kills():
    jetstream_kills(10)


@case(long=True, timeout=900)
def jetstream_is_exact_after_100_kills():
    jetstream_kills(100)


def jetstream_down(seconds, rate):
    world, nats = nats_world({'guests': 2, 'rate': rate, 'size': '128M'})
    with world:
        nats.start()
        world.dlogd.start()
        time.sleep(2)
        nats.kill()
        time.sleep(seconds)
        assert 'trying again' in world.dlogd.said()
        nats.start()
        time.sleep(1)
        received = stream_is_exact(world, nats, 60)
        assert 'up again' in world.dlogd.said()
        print('%d records exactly once' % received.total())
        world.dlogd.stop()


@case
def jetstream_is_exact_after_the_server_was_down():
    jetstream_down(5, 3000)


@case(long=True, timeout=900)
def jetstream_is_exact_after_a_minute_without_the_server():
    jetstream_down(60, 3000)


@case
def jetstream_without_a_stream_waits_for_one():
    world, nats = nats_world({'rate': 100}, {'create': 'no'})
    with world:
        nats.start()
        world.dlogd.start()
        until('a message', lambda: 'stream dlog' in world.dlogd.said(), 10)
        answer = nats.call('$JS.API.STREAM.CREATE.dlog', {
            'name': 'dlog', 'subjects': ['dlog.>']})
        assert 'error' not in answer, answer
        time.sleep(2)
        stream_is_exact(world, nats)
        world.dlogd.stop()


@case
def jetstream_leaves_out_what_is_too_large():
    world, nats = nats_world(None, {'create': 'no'})
    with world:
        port = free_port()
        with open(world.dlogd.config, 'a') as f:
            f.write('[web]\nlisten = 127.0.0.1:%d\n' % port)
        nats.start()
        answer = nats.call('$JS.API.STREAM.CREATE.dlog', {
            'name': 'dlog', 'subjects': ['dlog.>'], 'max_msg_size': 1000})
        assert 'error' not in answer, answer
        world.region('a', 'boot 6.1 1\n' + ''.join(
            'text 6 %d %s\n' % (i + 1, 'x' * (2000 if i % 2 else 20))
            for i in range(200)))
        world.dlogd.start()

        def count():
            url = 'http://127.0.0.1:%d/metrics' % port
            with urllib.request.urlopen(url) as f:
                return b'dlogd_guest_missed_total{guest="a",sink="jet"} 100\n' \
                    in f.read()
        until('said', lambda: 'larger than stream' in world.dlogd.said(), 10)
        until('missed records', count, 10)
        received = nats.received()
        assert received.repeats() == 0
        short = [i for i in received.ids if 'event' not in i]
        assert len(short) == 100, len(short)
        assert world.dlogd.said().count('larger than stream') == 1
        world.dlogd.stop()


@case
def jetstream_is_made_with_its_duplicate_window():
    world, nats = nats_world({'rate': 100}, {'duplicates': '3m'})
    with world:
        nats.start()
        world.dlogd.start()
        info = until('a stream',
                     lambda: nats.call('$JS.API.STREAM.INFO.dlog',
                             {}).get('config'),
                     10)
        assert info['duplicate_window'] == 180 * 10 ** 9
        assert info['subjects'] == ['dlog.>']
        world.dlogd.stop()


if __name__ == '__main__':
    main()
