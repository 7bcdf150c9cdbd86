"""Which configurations to measure next: strategies that read only results, and the rounds that they fill. No I/O."""
