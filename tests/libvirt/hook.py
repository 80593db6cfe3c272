#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""libvirt's hook: it formats what is missing, tells dlogd, and whatever it is
given never fails, never hangs and never says a word on standard output.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import host  # noqa: E402 (needs the path above)
from host import HOOKS, VIRT, Host, tool, virt  # noqa: E402
from lib.case import case  # noqa: E402

REGION = '/var/lib/dlog/regions/web1.img'
CONTROL = '/run/dlog/control'
SCRIPT = os.path.join(HOOKS, 'dlog')

DOMAIN = '''
<domain type='qemu'>
  <name>web1</name><memory unit='MiB'>64</memory><vcpu>3</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <features><acpi/></features>
  <devices><controller type='usb' model='none'/></devices>
</domain>'''

MARKED = '''%s<domain><name>%s</name><uuid>9f3b-0</uuid><vcpu>2</vcpu>
<metadata><dlog:region xmlns:dlog='urn:dlog:region:1' %s/></metadata>%s</domain>'''


def marked(attributes, name='web1', head='', more=''):
    return (MARKED % (head, name, attributes, more)).encode()


class Control:
    """dlogd's socket."""

    def __enter__(self):
        os.makedirs(os.path.dirname(CONTROL), exist_ok=True)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(CONTROL)
        self.sock.settimeout(5)
        return self

    def __exit__(self, *_):
        self.sock.close()
        os.unlink(CONTROL)

    def heard(self):
        """All messages so far."""
        found = []
        self.sock.setblocking(False)
        try:
            while True:
                found.append(json.loads(self.sock.recv(65536)))
        except BlockingIOError:
            return found


def hook(xml, *args, stdin=None):
    """Calls the hook by hand; how long it took.  It has to be quiet."""
    begin = time.monotonic()
    done = subprocess.run([VIRT, 'hook', *(args or ('web1', 'prepare', 'begin',
                                                    '-'))],
                          input=None if stdin else xml, stdin=stdin,
                          capture_output=True, timeout=20)
    assert done.returncode == 0, (args, xml[:200], done)
    assert done.stdout == b'', done.stdout
    return time.monotonic() - begin


@case
def a_missing_region_is_formatted_before_qemu_starts():
    with Host(hook=True) as h:
        h.define(DOMAIN)
        virt('attach', 'web1', '--size=4M', '--rings=3')
        before = json.loads(tool('dlog-read', '--stats', '-o', 'json', REGION))
        os.unlink(REGION)
        h.virsh('start', 'web1')
        after = json.loads(tool('dlog-read', '--stats', '-o', 'json', REGION))
        h.virsh('destroy', 'web1')
        assert after['rings'] == before['rings'] == 3
        assert os.path.getsize(REGION) == 4 << 20
        # One that is there stays, and a domain without a region is none of
        # the hook's business.
        with open(REGION, 'rb') as f:
            superblock = f.read(4096)
        h.virsh('start', 'web1')
        h.virsh('destroy', 'web1')
        with open(REGION, 'rb') as f:
            assert f.read(4096) == superblock
        virt('detach', 'web1', '--delete')
        h.virsh('start', 'web1')
        assert not os.path.exists(REGION)


@case
def dlogd_hears_of_start_and_stop():
    with Host(hook=True) as h, Control() as control:
        h.define(DOMAIN)
        virt('attach', 'web1', '--size=2M')
        h.virsh('start', 'web1')
        h.virsh('destroy', 'web1')
        heard = control.heard()
        assert [m['op'] for m in heard] == [
            'prepare', 'start', 'started', 'stopped', 'release'], heard
        for m in heard:
            assert m['guest'] == 'web1' and m['region'] == REGION, m
        # As libvirt 10.5 and later say it.
        hook(marked("path='%s'" % REGION), 'web1', 'stopped', 'end', 'crashed')
        assert control.heard() == [{'guest': 'web1', 'op': 'crashed',
                                    'region': REGION, 'reason': 'crashed'}]
        # A name that is none for dlogd becomes one, and stays unique.
        hook(marked("path='/x'", name='a b/\u00e4'), 'x', 'start', 'begin', '-')
        name = control.heard()[0]['guest']
        assert re.fullmatch(r'[A-Za-z0-9._@:+-]+', name) and '9f3b' in name, \
            name


@case
def a_domain_starts_whatever_dlogd_does():
    with Host(hook=True) as h:
        h.define(DOMAIN)
        virt('attach', 'web1', '--size=2M')

        def starts():
            begin = time.monotonic()
            h.virsh('start', 'web1')
            h.virsh('destroy', 'web1')
            return time.monotonic() - begin

        usual = starts()                # nobody there
        with Control() as control:      # somebody who never reads
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as flood:
                flood.setblocking(False)
                try:
                    while True:
                        flood.sendto(b'{}', CONTROL)
                except BlockingIOError:
                    pass
            blocked = starts()
            assert {m.get('op') for m in control.heard()} == {None}
        assert blocked < usual + 5, (usual, blocked)
        with open(CONTROL, 'w'):        # no socket at all
            pass
        starts()
        os.unlink(CONTROL)
        # The program is gone, or does not do what it should.
        with open(SCRIPT) as f:
            script = f.read()
        with open(SCRIPT, 'w') as f:
            f.write(script.replace(VIRT, '/nowhere/dlog-virt'))
        starts()
        with open(SCRIPT, 'w') as f:
            f.write(script.replace(VIRT, '/bin/false'))
        starts()


@case
def hostile_xml_does_nothing():
    with Host(), Control() as control:
        victim = '/var/lib/victim.img'
        path = "path='%s' size='65536' rings='1'" % victim
        laughs = '<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa">%s]>' % ''.join(
            '<!ENTITY %s "%s">' % (b, ('&%s;' % a) * 10)
            for a, b in zip('abcdefghi', 'bcdefghij'))
        secret = '/var/lib/secret'
        with open(secret, 'w') as f:
            f.write('topsecret')
        bad = [
            b'', b'\0' * 4096, b'<', b'<domain/>', b'<domain><name/>',
            b'\xff\xfe' + os.urandom(10000), b'<a>' * 100000,
            b'<domain><name>web1</name>' + b'<a>' * 300 + b'</a>' * 300,
            marked(path, head=laughs, more='<x y="&j;">&j;</x>'),
            marked(path, head='<!DOCTYPE d SYSTEM "file://%s">' % secret),
            marked(path, head='<!DOCTYPE d [<!ENTITY s SYSTEM "file://%s">]>'
                   % secret, name='&s;'),
            marked(path, more='<x>' + 'y' * (5 << 20) + '</x>'),
        ]
        for xml in bad:
            took = hook(xml)
            assert took < 3, (xml[:100], took)
            assert not os.path.exists(victim), xml[:200]
            for m in control.heard():
                assert 'topsecret' not in json.dumps(m)
                assert len(json.dumps(m)) < 8192
        # Understood, and yet nothing that can be made.
        for attributes in ("path='relative.img'", "path=''", "size='1'",
                           "path='%s' size='18446744073709551616'" % victim,
                           "path='%s' size='5'" % victim,
                           "path='%s' size='65536' rings='4294967295'"
                           % victim, "path='/proc/victim.img' size='65536'",
                           "path='%s/'" % os.path.dirname(victim)):
            assert hook(marked(attributes)) < 3
            assert not os.path.exists(victim), attributes
        # And with nothing wrong it is made: the cases above can fail.
        hook(marked(path))
        assert os.path.getsize(victim) == 65536


@case
def it_does_not_wait_for_ever():
    with Host():
        read, write = os.pipe()
        try:
            os.write(write, b'<domain>')
            took = hook(b'', stdin=read)
        finally:
            os.close(read)
            os.close(write)
        assert 1.5 < took < 4, took
        # Operations that are none of ours are not even read.
        for args in (('web1', 'migrate', 'begin', '-'), ('web1',), ('x', ''),
                     ('web1', 'prepare\n', 'begin')):
            assert hook(marked("path='/var/lib/x.img' size='65536'"),
                        *args) < 1.5
        assert not os.path.exists('/var/lib/x.img')


@case
def installing_and_removing():
    with Host():
        virt('install-hook')
        assert os.access(SCRIPT, os.X_OK)
        virt('install-hook')
        assert subprocess.run([SCRIPT, 'web1', 'prepare', 'begin', '-'],
                              input=b'').returncode == 0
        virt('remove-hook')
        assert os.listdir(HOOKS) == []
        assert 'no hook' in virt('remove-hook', ok=1)[1]
        with open(SCRIPT, 'w') as f:
            f.write('#!/bin/sh\nexit 0\n')
        for command in ('install-hook', 'remove-hook'):
            assert 'somebody else' in virt(command, ok=1)[1]
        with open(SCRIPT) as f:
            assert f.read() == '#!/bin/sh\nexit 0\n'
        shutil.rmtree(HOOKS)
        virt('install-hook', '--dir=/run/other')
        assert os.listdir('/run/other') == ['dlog']


if __name__ == '__main__':
    host.main()
