# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows of the benchmark: what one is, the table on the terminal, the JSON.

Relies on the Python standard library alone.
"""

import dataclasses
import json
import os
import textwrap


class Missing(Exception):
    """A peer that is not installed here; the text names the package."""

    def __init__(self, package):
        super().__init__('missing: %s (tests/guest/setup bench)' % package)


@dataclasses.dataclass
class Row:
    """One figure.

    name, unit    unit is that of ours, and of peers and floor too
    ours          None: not measured, note says why
    target        None: a figure without one
    more          True: the more the better, else the less
    peers         {name: figure}; a text instead of one says why there is none
    floor         the least that the same job can cost here
    beside        the peer that the ratio is made with, instead of the floor
    note          one line for people
    """
    name: str
    unit: str
    ours: float = None
    target: float = None
    more: bool = False
    peers: dict = dataclasses.field(default_factory=dict)
    floor: float = None
    beside: str = None
    note: str = ''

    @property
    def met(self):
        if self.ours is None or self.target is None:
            return None
        if self.more:
            return self.ours >= self.target
        return self.ours <= self.target

    @property
    def ratio(self):
        """Ours to the floor, or to the peer named by beside."""
        other = self.peers.get(self.beside, self.floor)
        if self.ours is None or not isinstance(other, (int, float)) \
                or not other:
            return None
        return self.ours / other

    def as_json(self):
        figures = {name: value if isinstance(value, (int, float)) else None
                   for name, value in self.peers.items()}
        why = ['%s %s' % item for item in self.peers.items()
               if isinstance(item[1], str)]
        return {'name': self.name, 'unit': self.unit,
                'ours': rounded(self.ours), 'target': self.target,
                'met': self.met,
                'peers': {k: rounded(v) for k, v in figures.items()},
                'floor': rounded(self.floor), 'ratio': rounded(self.ratio),
                'note': '; '.join(filter(None, [self.note] + why))}


def rounded(value):
    """Four digits, or all those before the point."""
    if value is None or isinstance(value, (str, int)):
        return value
    if abs(value) >= 1000:
        return round(value)
    return float('%.4g' % value)


def short(value):
    if value is None:
        return '-'
    if isinstance(value, str):
        return value
    value = rounded(value)
    return '%d' % value if value == int(value) else '%g' % value


FORMAT = '%-22s %9s %-13s %9s %7s %8s %-4s  %s'


def show(rows):
    """Prints the table; what does not fit a line goes below."""
    print(FORMAT % ('what', 'ours', 'unit', 'floor', 'ratio', 'target', 'met',
                    'peers'))
    for row in rows:
        target = '-'
        if row.target is not None:
            target = ('>=' if row.more else '<=') + short(row.target)
        peers = ', '.join('%s %s' % (name, short(value))
                          for name, value in row.peers.items())
        lines = textwrap.wrap(peers, 56) or ['']
        if row.note:
            lines += textwrap.wrap('(%s)' % row.note, 56)
        if not lines[0] and len(lines) > 1:
            del lines[0]
        print(FORMAT % (row.name, short(row.ours), row.unit, short(row.floor),
                        '-' if row.ratio is None else '%.2f' % row.ratio,
                        target, {None: '-', True: 'yes', False: 'NO'}[row.met],
                        lines[0]))
        for line in lines[1:]:
            print(' ' * len(FORMAT % (('',) * 8)) + line)


def save(rows, path):
    """Whole or not at all."""
    with open(path + '.new', 'w') as f:
        json.dump([row.as_json() for row in rows], f, indent=1)
        f.write('\n')
    os.replace(path + '.new', path)
