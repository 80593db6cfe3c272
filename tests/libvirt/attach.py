#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""dlog-virt with a real libvirtd: a region goes into a domain's XML and comes
out again without a trace; QEMU starts with it; what cannot be is refused and
changes nothing.  No guest boots here.
"""

import os
import re
import stat
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import host  # noqa: E402 (needs the path above)
from host import Host, tool, virt  # noqa: E402
from lib.case import case  # noqa: E402

REGION = '/var/lib/dlog/regions/web1.img'

SMALL = '''
<domain type='qemu'>
  <name>web1</name><memory unit='MiB'>64</memory><vcpu>2</vcpu>
  <os><type arch='x86_64' machine='%s'>hvm</type></os>
  <features>%s</features>
  %s
  <devices><controller type='usb' model='none'/>%s</devices>
</domain>'''


def small(machine='pc', features='<acpi/>', more='', devices=''):
    return SMALL % (machine, features, more, devices)


# Everything an administrator may have there already.
FULL = '''
<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>web1</name>
  <title>Web &lt;1&gt; &amp; more</title>
  <metadata>
    <other:thing xmlns:other='https://example.org/x'>  <b/> text </other:thing>
  </metadata>
  <maxMemory slots='4' unit='KiB'>1048576</maxMemory>
  <memory unit='KiB'>131072</memory>
  <currentMemory unit='KiB'>65536</currentMemory>
  <vcpu current='1'>4</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <features><acpi/><apic/></features>
  <cpu mode='custom' match='exact'>
    <model fallback='allow'>qemu64</model>
    <numa>
      <cell id='0' cpus='0-1' memory='65536' unit='KiB'/>
      <cell id='1' cpus='2-3' memory='65536' unit='KiB'/>
    </numa>
  </cpu>
  <devices>
    <controller type='usb' model='none'/>
    <graphics type='vnc' autoport='yes' passwd='secret'/>
    <memory model='dimm'>
      <target><size unit='KiB'>131072</size><node>1</node></target>
    </memory>
    <panic model='isa'/>
  </devices>
  <qemu:commandline>
    <qemu:arg value='-global'/>
    <qemu:arg value='PIIX4_PM.disable_s3=1'/>
  </qemu:commandline>
</domain>'''


def refused(*args, code=1):
    """dlog-virt has to refuse; what it says, one line."""
    out, err = virt(*args, ok=code)
    assert not out and err.startswith('dlog-virt: '), (out, err)
    return err


def arguments(name):
    """QEMU's command line, while it runs."""
    with open('/run/libvirt/qemu/%s.pid' % name) as f:
        pid = f.read().strip()
    with open('/proc/%s/cmdline' % pid) as f:
        return f.read().split('\0')


@case
def the_xml_is_as_it_was_after_a_round_trip():
    with Host() as h:
        for xml in (small(), small('q35'), FULL):
            for mode in ('nvdimm', 'commandline'):
                h.define(xml)
                before = h.xml('web1')
                virt('attach', 'web1', '--mode', mode)
                during = h.xml('web1')
                assert REGION in during and during != before
                assert 'secret' in during or 'secret' not in before
                virt('detach', 'web1', '--delete')
                assert h.xml('web1') == before, mode
                assert not os.path.exists(REGION)
                h.virsh('undefine', 'web1')


@case
def what_others_changed_meanwhile_stays():
    with Host() as h:
        h.define(small())
        virt('attach', 'web1')
        xml = h.xml('web1')
        xml = re.sub(r"<maxMemory slots='1' unit='KiB'>\d+",
                     "<maxMemory slots='3' unit='KiB'>2097152", xml)
        xml = xml.replace('</devices>', "<memory model='dimm'><target><size "
                          "unit='MiB'>128</size><node>0</node></target>"
                          '</memory></devices>')
        h.define(xml)
        virt('detach', 'web1')
        xml = h.xml('web1')
        assert "<maxMemory slots='2' unit='KiB'>2080768<" in xml, xml
        assert '<numa>' in xml and "model='dimm'" in xml
        assert 'nvdimm' not in xml and 'dlog' not in xml
        assert "<memory unit='KiB'>196608<" in xml, xml


@case
def qemu_starts_with_the_region_as_its_own_user():
    with Host() as h:
        for mode in ('nvdimm', 'commandline'):
            h.define(small())
            virt('attach', 'web1', '--size=4M', '--rings=2', '--mode', mode)
            info = tool('dlog-read', '--stats', REGION).decode()
            assert re.search(r'4(\.0)? MiB', info), info
            h.virsh('start', 'web1')
            line = ' '.join(arguments('web1'))
            assert REGION in line
            assert '"share":true' in line or 'share=on' in line
            st = os.stat(REGION)
            assert st.st_uid == host.QEMU_USER
            assert stat.S_IMODE(st.st_mode) == 0o600
            out, _ = virt('status')
            assert out.startswith('web1: ' + REGION), out
            assert 'domain runs' in out and 'no guest' in out, out
            assert 'use' in refused('detach', 'web1', '--delete')
            assert os.path.exists(REGION)
            h.virsh('destroy', 'web1')
            assert 'shut off' in virt('status', 'web1')[0]
            virt('detach', 'web1', '--delete')
            h.virsh('undefine', 'web1')


@case
def a_running_domain_gets_it_at_its_next_start():
    with Host() as h:
        h.define(small())
        h.virsh('start', 'web1')
        out, _ = virt('attach', 'web1')
        assert 'started again' in out, out
        assert REGION not in ' '.join(arguments('web1'))
        assert 'from its next start' in virt('status')[0]
        h.virsh('destroy', 'web1')
        h.virsh('start', 'web1')
        assert REGION in ' '.join(arguments('web1'))
        h.virsh('destroy', 'web1')


@case
def attaching_twice_is_once():
    with Host() as h:
        h.define(small())
        virt('attach', 'web1')
        with open(REGION, 'rb') as f:
            superblock = f.read(4096)
        before = h.xml('web1')
        out, _ = virt('attach', 'web1')
        assert 'already' in out
        assert h.xml('web1') == before
        with open(REGION, 'rb') as f:
            assert f.read(4096) == superblock
        assert 'detach' in refused('attach', 'web1', '--file=/var/lib/x.img')
        assert '--size' in refused('attach', 'web1', '--size=4M')
        assert 'detach' in refused('attach', 'web1', '--mode=commandline')
        # The file was lost: it is made again, as it was.
        os.unlink(REGION)
        virt('attach', 'web1')
        tool('dlog-read', '--stats', REGION)


@case
def what_cannot_be_is_refused_and_changes_nothing():
    with Host() as h:
        h.define(small())
        h.define(small().replace('web1', 'web2'))
        h.define(small(features='').replace('web1', 'noacpi'))
        before = h.xml('web1')
        virt('attach', 'web2', '--file=/var/lib/dlog-two.img', '--size=2M')
        os.mkdir('/var/lib/shut', 0o700)
        with open('/var/lib/text.img', 'w') as f:
            f.write('no region\n' * 4000)
        os.symlink('/var/lib/nowhere', '/var/lib/link.img')
        for words, args in (
                ('no domain', ('attach', 'nobody')),
                ('web2', ('attach', 'web1', '--file=/var/lib/dlog-two.img')),
                ('2 MiB', ('attach', 'web1', '--size=3M', '--mode=nvdimm')),
                ('power of two', ('attach', 'web1', '--size=6M',
                                  '--mode=commandline')),
                ('acpi', ('attach', 'noacpi', '--mode=nvdimm')),
                ('not a regular', ('attach', 'web1', '--file=/var/lib/shut')),
                ('not a regular', ('attach', 'web1',
                                   '--file=/var/lib/link.img')),
                ('text.img', ('attach', 'web1', '--file=/var/lib/text.img')),
                ('may not enter', ('attach', 'web1',
                                   '--file=/var/lib/shut/a.img')),
                ('folder', ('attach', 'web1', '--file=/none/a.img')),
                ('no region', ('detach', 'web1')),
                ('no region', ('path', 'web1')),
                ('far', ('-c', 'qemu+unix://far/system')),
                ('test', ('-c', 'test:///default'))):
            if args[0] == '-c':
                args = ('attach', 'web1', *args)
            assert words in refused(*args), (words, refused(*args))
        assert h.xml('web1') == before
        assert os.listdir('/var/lib/shut') == []
        assert not os.path.exists(REGION)
        assert not os.path.exists('/var/lib/nowhere')
        # Without ACPI there is still the other way.
        out, _ = virt('attach', 'noacpi')
        assert 'ivshmem' in out, out


@case
def slots_that_are_all_taken_are_told():
    with Host() as h:
        h.define(small(more="<cpu><numa><cell id='0' cpus='0-1' memory='64' "
                       "unit='MiB'/></numa></cpu>").replace(
            '<memory ', "<maxMemory slots='256' unit='GiB'>4</maxMemory>"
            '<memory ', 1))
        before = h.xml('web1')
        assert '256 slots' in refused('attach', 'web1')
        assert h.xml('web1') == before and not os.path.exists(REGION)


@case
def print_only_prints():
    with Host() as h:
        h.define(small())
        before = h.xml('web1')
        out, _ = virt('attach', 'web1', '--print')
        assert not os.path.exists(REGION) and h.xml('web1') == before
        # What is printed is what would be defined.
        tool('dlog-create', '-q', '/var/lib/dlog-print.img')
        virt('attach', 'web1')
        attached = h.xml('web1')
        virt('detach', 'web1', '--delete')
        h.define(out)
        assert h.xml('web1') == attached


@case
def wrong_usage_is_status_2():
    for args in ((), ('fly',), ('attach',), ('attach', 'a', 'b'),
                 ('attach', 'a', '--size=big'), ('attach', 'a', '--rings=0'),
                 ('attach', 'a', '--mode=dimm'), ('detach', 'a', '--size=1M'),
                 ('path', 'a', '--dir=/x'), ('status', '--delete')):
        refused(*args, code=2)
    assert 'attach' in virt('--help')[0]
    assert virt('--version')[0].startswith('dlog-virt ')


if __name__ == '__main__':
    host.main()
