# SPDX-License-Identifier: GPL-2.0-or-later
"""A Perfetto trace as protoc reads it.

    t = Trace(data)
    t.instants      [Instant], in the order of the file
    t.sched         [(cpu, ns, pid, name, {field: value})]

Relies on Debian's protobuf-compiler and perfetto.proto.
"""

import os
import re
import shutil
import subprocess
from collections import namedtuple

HERE = os.path.dirname(os.path.abspath(__file__))
PROTOC = shutil.which('protoc')

Instant = namedtuple('Instant', 'track ns category name args')

TOKEN = re.compile(rb'\s*([\w]+)(?:\s*(\{)|: ("(?:[^"\\]|\\.)*"|\S+))|\s*(\})')
ESCAPE = re.compile(rb'\\([0-7]{1,3}|.)', re.DOTALL)
PLAIN = {b'n': b'\n', b'r': b'\r', b't': b'\t'}


def unescape(text):
    def one(m):
        what = m.group(1)
        return (bytes([int(what, 8)]) if what.isdigit()
                else PLAIN.get(what, what))
    return ESCAPE.sub(one, text).decode()    # strictly UTF-8


def value(text):
    if text.startswith(b'"'):
        return unescape(text[1:-1])
    try:
        return int(text, 0)
    except ValueError:
        return text.decode()


def parse(text):
    """protoc's text: messages as dictionaries of lists."""
    root = {}
    stack = [root]
    at = 0
    for m in TOKEN.finditer(text):
        assert not text[at:m.start()].strip(), text[at:m.start() + 40]
        at = m.end()
        key, opens, scalar, closes = m.groups()
        if closes:
            stack.pop()
            continue
        key = key.decode()
        assert not key.isdigit(), 'field %s is not in perfetto.proto' % key
        into = stack[-1].setdefault(key, [])
        into.append({} if opens else value(scalar))
        if opens:
            stack.append(into[-1])
    assert stack == [root] and not text[at:].strip()
    return root


class Trace:
    def __init__(self, data):
        out = subprocess.run(
            [PROTOC, '--decode=perfetto.protos.Trace', '-I', HERE,
             'perfetto.proto'], input=data, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        assert out.returncode == 0, out.stderr.decode()
        self.packets = parse(out.stdout).get('packet', [])
        self.tracks, self.parents = {}, {}
        self.clocks, self.instants, self.sched = [], [], []
        self.system = None
        self.names = {'event_categories': {}, 'event_names': {},
                      'debug_annotation_names': {}}
        self.ready = False
        for p in self.packets:
            assert p['trusted_packet_sequence_id'] == [1]
            self.take(p)

    def take(self, p):
        flags = p.get('sequence_flags', [0])[0]
        if flags & 1:
            self.ready = True
            assert p['trace_packet_defaults'][0]['timestamp_clock_id'] == [6]
        assert not flags & 2 or self.ready
        for kind, table in self.names.items():
            for data in p.get('interned_data', []):
                for entry in data.get(kind, []):
                    assert entry['iid'][0] not in table
                    assert entry['iid'][0] > 0
                    table[entry['iid'][0]] = entry['name'][0]
        for track in p.get('track_descriptor', []):
            uuid = track['uuid'][0]
            assert uuid not in self.tracks
            self.tracks[uuid] = track['name'][0]
            self.parents[uuid] = track.get('parent_uuid', [None])[0]
        for snapshot in p.get('clock_snapshot', []):
            self.clocks.append({c['clock_id'][0]: c['timestamp'][0]
                                for c in snapshot['clocks']})
            assert snapshot['primary_trace_clock'] == [
                'BUILTIN_CLOCK_BOOTTIME']
        for info in p.get('system_info', []):
            self.system = {k: v[0] for k, v in info['utsname'][0].items()}
        for e in p.get('track_event', []):
            assert flags & 2, 'interned names without the flag'
            self.instants.append(self.instant(p['timestamp'][0], e))
        for bundle in p.get('ftrace_events', []):
            for e in bundle['event']:
                self.take_sched(bundle['cpu'][0], dict(e))

    def instant(self, ns, e):
        assert e['type'] == ['TYPE_INSTANT'], e
        args = {}
        for a in e.get('debug_annotations', []):
            a = dict(a)
            name = self.names['debug_annotation_names'][a.pop('name_iid')[0]]
            (kind, values), = a.items()
            assert name not in args
            args[name] = values[0]
        name = (e['name'][0] if 'name' in e
                else self.names['event_names'][e['name_iid'][0]])
        category, = e['category_iids']
        return Instant(self.tracks[e['track_uuid'][0]], ns,
                       self.names['event_categories'][category], name, args)

    def take_sched(self, cpu, e):
        ns, pid = e.pop('timestamp')[0], e.pop('pid')[0]
        (name, fields), = e.items()
        self.sched.append((cpu, ns, pid, name,
                           {k: v[0] for k, v in fields[0].items()}))
