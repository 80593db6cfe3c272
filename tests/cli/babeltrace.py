# SPDX-License-Identifier: GPL-2.0-or-later
"""What babeltrace2 makes of a directory of CTF traces, and whether that is
what dlog-read -o json says."""

import calendar
import re
import shutil
import time
from decimal import Decimal

from cli import run, same
from lib.case import skip

# "[1700000000.000000001] guest/boot-1printk: { ... }, { ... }, { ... }"; with
# several files "guest/file-1/boot-1printk:"
LINE = re.compile(
    rb'\[(\d+)\.(\d{9})\] (.*?)(?:/file-\d+)?/boot-(\d+)([^{]*?): (\{.*)')
TOKEN = re.compile(rb'\s*(?:(-?0x[0-9A-Fa-f]+|-?\d+)|"((?:[^"\\]|\\.)*)"'
                   rb'|(\[ \[)|([^\s"{}\[\],=]+)|(.))', re.S)
ESCAPE = re.compile(rb'\\(?:x([0-9a-fA-F]{2})|(.))', re.S)
LETTERS = {b'a': b'\a', b'b': b'\b', b'e': b'\x1b', b'f': b'\f',
           b'n': b'\n', b'r': b'\r', b't': b'\t', b'v': b'\v'}


def unescape(text):
    def one(m):
        if m.group(1):
            return bytes([int(m.group(1), 16)])
        return LETTERS.get(m.group(2), m.group(2))
    return ESCAPE.sub(one, text).decode('utf-8')


class Value:
    """A value as babeltrace2's sink.text.pretty prints it."""

    def __init__(self, text):
        self.text, self.at = text, 0

    def token(self):
        m = TOKEN.match(self.text, self.at)
        self.at = m.end()
        return m

    def take(self, want):
        m = self.token()
        assert m.group(0).strip() == want, (want, self.text[self.at - 20:])

    def parse(self):
        m = self.token()
        if m.group(1) is not None:
            return int(m.group(1), 0)
        if m.group(2) is not None:
            return unescape(m.group(2))
        if m.group(0).strip() == b'{':
            return self.struct()
        assert m.group(0).strip().startswith(b'['), m.group(0)
        self.at = m.start() + m.group(0).index(b'[') + 1
        return self.array()

    def struct(self):
        out = {}
        while True:
            m = self.token()
            word = m.group(0).strip()
            if word == b'}':
                return out
            if word == b',':
                continue
            assert word not in out, 'field %r twice' % word
            self.take(b'=')
            out[word.decode()] = self.parse()

    def array(self):
        out = []
        while True:
            rest = self.text[self.at:].lstrip()
            self.at = len(self.text) - len(rest)
            if rest.startswith(b']'):
                self.at += 1
                return out
            if rest.startswith(b','):
                self.at += 1
                continue
            m = re.match(rb'\[(\d+)\] = ', rest)
            assert int(m.group(1)) == len(out)
            self.at += m.end()
            out.append(self.parse())


class Event:
    """One event: trace, boot, name; wall clock in ns; contexts, fields."""

    def __init__(self, line):
        m = LINE.fullmatch(line)
        assert m, line
        self.real = int(m.group(1)) * 1000000000 + int(m.group(2))
        self.trace = m.group(3).decode()
        self.boot = int(m.group(4))
        self.name = m.group(5).decode()
        value = Value(m.group(6))
        self.packet = value.parse()
        value.take(b',')
        self.context = value.parse()
        value.take(b',')
        self.fields = value.parse()
        assert value.at == len(value.text), value.text[value.at:]


def events(directory):
    """All events of all traces below @directory, by time; and what
    babeltrace2 says of those that were lost."""
    if not shutil.which('babeltrace2'):
        skip('babeltrace2 is not installed')
    r = run('babeltrace2', '--fields=trace', '--clock-seconds', '--no-delta',
            directory)
    assert r.code == 0, r.err
    lost = [line for line in r.err.splitlines() if line.strip()]
    assert all('discarded' in line for line in lost), r.err
    return [Event(line) for line in r.raw.split(b'\n') if line], lost


def same_records(got, want):
    """Each of these JSON objects is there, once, with its time and fields;
    with its wall clock too, but that a ring's never goes back."""
    same(len(got), len(want))
    by_place = {(e.boot, e.packet['cpu_id'], e.context['position']): e
                for e in got}
    same(len(by_place), len(got))
    last = {}
    for o in want:
        e = by_place[o['boot'], o['ring'], o['position']]
        guest, real = nanoseconds(o)
        same(e.context['time'], guest)
        same(e.context['level'], o['level'])
        if real:
            ring = o['boot'], o['ring']
            last[ring] = max(real, last.get(ring, 0))
            same(e.real, last[ring])
        same_fields(e, o)


def nanoseconds(o):
    """JSON's times: guest's clock, wall clock or None."""
    real = o['real'] and calendar.timegm(
        time.strptime(o['real'][:19], '%Y-%m-%dT%H:%M:%S')) * 10**9 + \
        int(o['real'][20:29])
    return int(Decimal(str(o['time'])) * 10**9), real


def string(text):
    """What stands for it: CTF's strings end at NUL, and babeltrace2 2.0.4
    takes an empty one for the one before."""
    return text.replace('\0', '\ufffd') or ' '


def same_fields(e, o):
    f = e.fields
    data = bytes.fromhex(o.get('hex', ''))
    if o['kind'] in ('printk', 'text'):
        same((e.name, f['facility']), (o['kind'], o['facility']))
        same(f['text'], string(o['text']))
        exact = 'hex' not in o and '\0' not in o['text']
        same(bytes(f['raw']),
             b'' if exact else data or o['text'].encode())
        if o['kind'] == 'printk':
            same(f['caller'], string(o['caller'] or ''))
    elif o['kind'] == 'state':
        same((e.name, f['status']), ('state', o['arg']))
        same(f['name'], o['text'].split(': ')[1])
        same(f['text'], string(data.decode()))
    elif o['kind'] == 'boot':
        same((e.name, f['boot']), ('boot', o['boot']))
        assert 'release ' + f['release'] in o['text']
        same(f['boot_id'], data[16:32].hex())
        same(f['start_real'], int.from_bytes(data[8:16], 'little'))
    elif o['kind'] == 'stack':
        same('stack of cpu %d (%s):\n%s' % (f['cpu'], f['reason'],
                                            f['text']), o['text'])
    elif e.name == 'event':
        same((o['kind'], f['number'], bytes(f['data'])),
             ('event', o['arg'], data))
    elif o['kind'] == 'event':
        same(e.name, o['name'])
        for name, value in o['fields'].items():
            same_value(f[name], value)


def same_value(got, want):
    """JSON has bytes and what is shown in base 16 as strings."""
    if isinstance(got, list):
        same(bytes(got).hex(), want)
    elif isinstance(got, int) and isinstance(want, str):
        same(got, int(want, 16))
    else:
        same(got, string(want) if isinstance(want, str) else want)
