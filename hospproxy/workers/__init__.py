"""Several processes of one machine on the same ports: who starts them, replaces them, and speaks for them all."""
