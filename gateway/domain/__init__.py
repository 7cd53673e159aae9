"""Pure decisions: no await, no I/O, no clock. Everything here can be tested with plain values."""
