# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads OpenMetrics 1.0 text as strictly as its specification
(prometheus/OpenMetrics, specification/OpenMetrics.md, section "Text format")
has it; what is wrong raises ValueError with the line."""

import re

NAME = r'[a-zA-Z_:][a-zA-Z0-9_:]*'
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
SAMPLE = re.compile(r'(%s)(?:\{(.*)\})? (\S+)$' % NAME)
NUMBER = re.compile(r'[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$'
                    r'|[+-]?Inf$|NaN$')
SUFFIXES = {'counter': ('_total', '_created'), 'gauge': ('',),
            'info': ('_info',), 'stateset': ('',), 'unknown': ('',)}


def labels(text, line):
    """The labels of a sample, without its braces."""
    found, at = {}, 0
    while at < len(text):
        match = LABEL.match(text, at)
        if not match or match.group(1) in found:
            raise ValueError('bad labels: ' + line)
        found[match.group(1)] = re.sub(
            r'\\(.)', lambda m: '\n' if m.group(1) == 'n' else m.group(1),
            match.group(2))
        at = match.end()
        if at < len(text):
            if text[at] != ',':
                raise ValueError('bad labels: ' + line)
            at += 1
            if at == len(text):
                raise ValueError('comma at the end: ' + line)
    return found


def check_sample(family, name, found, value, line):
    kind = family['type']
    if name[len(family['name']):] not in SUFFIXES[kind]:
        raise ValueError('wrong suffix of a %s: %s' % (kind, line))
    number = float(value.replace('Inf', 'inf').replace('NaN', 'nan'))
    if kind == 'counter' and not number >= 0:
        raise ValueError('counter below 0: ' + line)
    if kind == 'info' and number != 1:
        raise ValueError('info is not 1: ' + line)
    if kind == 'stateset' and (number not in (0, 1) or
                               family['name'] not in found):
        raise ValueError('stateset: ' + line)
    return number


def meta(line, family, families):
    """A "# WORD NAME REST" line; the family that it is of."""
    word, name, rest = (line.split(' ', 3)[1:] + [''])[:3]
    if word not in ('TYPE', 'UNIT', 'HELP') or not re.fullmatch(NAME, name):
        raise ValueError('bad line: ' + line)
    if not family or family['name'] != name:
        if name in families:
            raise ValueError('family comes twice: ' + line)
        family = families[name] = {'name': name, 'type': 'unknown',
                                   'samples': {}}
    elif family['samples'] or word in family:
        raise ValueError('in the wrong place: ' + line)
    family[word] = rest
    if word == 'TYPE':
        if rest not in SUFFIXES:
            raise ValueError('type: ' + line)
        family['type'] = rest
    if word == 'UNIT' and rest and not name.endswith('_' + rest):
        raise ValueError('name does not end with its unit: ' + line)
    return family


def parse(text):
    """{family: {'type', 'samples': {(name, ((label, value), ...)): number}}}"""
    if not text.endswith('# EOF\n'):
        raise ValueError('does not end with # EOF')
    families, family = {}, None
    for line in text[:-len('# EOF\n')].split('\n')[:-1]:
        if line.startswith('#'):
            family = meta(line, family, families)
            continue
        match = SAMPLE.match(line)
        if not match or not NUMBER.match(match.group(3)):
            raise ValueError('no sample: ' + line)
        name, inner, value = match.groups()
        if not family or not name.startswith(family['name']):
            raise ValueError('sample outside of its family: ' + line)
        found = labels(inner or '', line)
        key = (name, tuple(sorted(found.items())))
        if key in family['samples']:
            raise ValueError('sample comes twice: ' + line)
        family['samples'][key] = check_sample(family, name, found, value, line)
    for name, family in families.items():
        if family['type'] in ('info', 'stateset') and family.get('UNIT'):
            raise ValueError('unit of ' + name)
        clash = [name + suffix for suffix in SUFFIXES[family['type']]
                 if suffix and name + suffix in families]
        if clash:
            raise ValueError('names clash: %s' % clash)
    return families
