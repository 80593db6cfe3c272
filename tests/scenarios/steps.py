#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A death at each single instruction of an append.

gdb's stub stops a real guest at the entry of the driver's append and goes
through it instruction by instruction.  What the file holds while the guest
stands still is what a SIGKILL at that instant leaves, and the last case does
kill there.  At each step every record committed before is read; the new one is
either not there, or torn, or whole, in this order, and never anything else.
"""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import case, main  # noqa: E402 (needs the path above)
from lib.gdbstub import GdbStub  # noqa: E402
from lib.world import World, entries  # noqa: E402

SUBBUF = 4096


class Stepped(World):
    """A guest with one CPU, so one ring, and its gdb stub."""

    def __init__(self):
        super().__init__(size='256K', rings=1, smp=1,
                         create=('--subbuf=%d' % SUBBUF,))
        self.stub_path = os.path.join(self.folder, 'gdb')
        self.guest.qemu_args += [
            '-gdb', 'unix:%s,server=on,wait=off' % self.stub_path]

    def __enter__(self):
        super().__enter__()
        self.boot = self.load_driver()
        self.append = int(self.guest.must(
            "grep ' dlog_append' /proc/kallsyms").split()[0], 16)
        return self

    def say(self, text):
        self.guest.must('printf %%s "%s" > /dev/dlog-msg' % text)

    def room(self):
        """Bytes left in the sub-buffer that the next record may go to."""
        position = self.rings()[0][1]
        return -position % SUBBUF

    def fill(self, left):
        """Appends until exactly left bytes remain in the sub-buffer."""
        while self.room() < 1600:
            self.say('f' * 900)
        while self.room() - left > 900:
            self.say('f' * (min(900, self.room() - left - 300) - 24))
        gap = self.room() - left
        assert gap % 8 == 0 and gap >= 24, gap
        self.say('g' * (gap - 16))
        assert self.room() == left, self.room()

    def shown(self):
        """Texts of all messages of ours, in order, and torn records."""
        texts = [e['text'] for e in entries(self.region)
                 if e['kind'] == 'text']
        loss = self.loss(self.boot)[0]
        return texts, loss

    def walk(self, text, kill_at=None):
        """Steps through the append of text; (instructions, transitions)."""
        before, loss_before = self.shown()
        stub = GdbStub(self.stub_path)
        # The guest stands still: the command is heard once it goes on.
        self.guest.sh_nowait('printf %%s "%s" > /dev/dlog-msg' % text)
        stub.run_to(self.append)
        sp = stub.registers()[7]
        back = int.from_bytes(stub.read(sp, 8), 'little')
        states = []
        steps = 0
        while stub.pc() != back:
            stub.step()
            steps += 1
            texts, loss = self.shown()
            assert texts[:len(before)] == before, \
                'step %d: a committed record is gone' % steps
            new = texts[len(before):]
            assert loss['corrupt'] == 0 and loss['dropped'] == 0, loss
            state = ('whole' if new == [text] else
                     'torn' if not new and loss['torn'] == 1 else
                     'absent' if not new and loss['torn'] == 0 else
                     'wrong: %r %r' % (new, loss))
            if not states or states[-1] != state:
                states.append(state)
            if kill_at == state:
                self.guest.kill9()
                stub.close()
                return steps, states
        stub.ask(b'D')
        stub.close()
        return steps, states


@case(timeout=600)
def each_instruction_of_an_append():
    with Stepped() as w:
        w.say('first')
        steps, states = w.walk('twenty-four bytes of it.')
        print('%d instructions: %s' % (steps, states))
        assert states == ['absent', 'torn', 'whole'], states
        w.say('afterwards')
        assert w.shown()[0][-1] == 'afterwards'


@case(timeout=600)
def each_instruction_of_a_switch():
    """The append that enters a new sub-buffer and writes its START."""
    with Stepped() as w:
        w.fill(16)
        steps, states = w.walk('behind a START')
        print('%d instructions: %s' % (steps, states))
        assert states == ['absent', 'torn', 'whole'], states
        w.say('afterwards')
        assert w.shown()[0][-2:] == ['behind a START', 'afterwards']


@case(long=True, timeout=600)
def each_instruction_of_a_switch_in_a_later_lap():
    """The same where the new sub-buffer holds an older lap's records."""
    with Stepped() as w:
        slots = w.stats()['ring_size'] // SUBBUF
        for _ in range(slots):
            for _ in range(5):
                w.say('o' * 700)
        w.fill(16)
        # Entering the sub-buffer takes the oldest one's records with it.
        before, _ = w.shown()
        stub = GdbStub(w.stub_path)
        w.guest.sh_nowait('printf %s "new lap" > /dev/dlog-msg')
        stub.run_to(w.append)
        back = int.from_bytes(stub.read(stub.registers()[7], 8), 'little')
        steps, seen = 0, set()
        while stub.pc() != back:
            stub.step()
            steps += 1
            texts, loss = w.shown()
            assert loss['corrupt'] == 0, loss
            whole = texts[-1:] == ['new lap']
            old = texts[:-1] if whole else texts
            assert old == before[len(before) - len(old):], 'step %d' % steps
            assert len(before) - len(old) <= 6, 'step %d' % steps
            seen.add((len(old), whole))
        print('%d instructions, %s' % (steps, sorted(seen)))
        assert (len(before), False) in seen
        assert max(whole for _, whole in seen)
        stub.ask(b'D')
        stub.close()


@case(timeout=300)
def killed_between_reserve_and_commit():
    with Stepped() as w:
        w.say('the last whole one')
        w.walk('never finished', kill_at='torn')
        texts, loss = w.shown()
        assert texts[-1] == 'the last whole one', texts[-1]
        assert loss['torn'] == 1, loss
        assert loss['written'] == loss['records'] + 1, loss


if __name__ == '__main__':
    main()
