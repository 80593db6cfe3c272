# SPDX-License-Identifier: GPL-2.0-or-later
"""The little of gdb's remote protocol that a test needs: break, step, read.

    stub = GdbStub(path)                 # QEMU: -gdb unix:PATH,server=on,wait=off
    stub.run_to(address); stub.step(); stub.pc()

Follows "Remote Serial Protocol" in gdb's manual, for x86-64.  The guest stands
still from the connection on, except in run_to() and cont().
"""

import socket
import struct


class GdbStub:

    def __init__(self, path, timeout=60):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(timeout)
        self.sock.connect(path)
        self.data = b''
        self.thread = b'1'
        self.ask(b'?')

    def close(self):
        self.sock.close()

    def send(self, packet):
        self.sock.sendall(b'$%s#%02x' % (packet, sum(packet) & 255))

    def receive(self):
        """The next packet's payload; acknowledged."""
        while True:
            start = self.data.find(b'$')
            end = self.data.find(b'#', start)
            if start >= 0 and 0 <= end <= len(self.data) - 3:
                packet = self.data[start + 1:end]
                self.data = self.data[end + 3:]
                self.sock.sendall(b'+')
                return packet
            more = self.sock.recv(65536)
            if not more:
                raise EOFError('the stub has gone')
            self.data += more

    def ask(self, packet):
        self.send(packet)
        return self.receive()

    def stopped(self, reply):
        """Remembers which CPU a stop reply is about."""
        assert reply[:1] in (b'T', b'S'), reply
        for part in reply[3:].split(b';'):
            if part.startswith(b'thread:'):
                self.thread = part[7:]

    def breakpoint(self, address, on=True):
        reply = self.ask(b'%s1,%x,1' % (b'Z' if on else b'z', address))
        while reply[:1] == b'T':
            # Connecting stopped the guest, which is told once more.
            reply = self.receive()
        assert reply == b'OK', reply

    def run_to(self, address):
        """Goes on until a CPU is about to execute at address."""
        self.breakpoint(address)
        self.stopped(self.ask(b'c'))
        self.breakpoint(address, on=False)
        assert self.pc() == address, 'stopped at %x' % self.pc()

    def cont(self):
        """Lets the guest run; nothing is asked until interrupt()."""
        self.send(b'c')

    def step(self):
        """One instruction of the CPU that stopped; the others stand still."""
        self.stopped(self.ask(b'vCont;s:%s' % self.thread))

    def registers(self):
        assert self.ask(b'Hg' + self.thread) == b'OK'
        data = bytes.fromhex(self.ask(b'g').decode())
        # rax rbx rcx rdx rsi rdi rbp rsp r8 .. r15 rip
        return struct.unpack_from('<17Q', data)

    def pc(self):
        return self.registers()[16]

    def read(self, address, length):
        return bytes.fromhex(self.ask(b'm%x,%x' % (address, length)).decode())
