"""What becomes of a pool of processes when something in it goes wrong: four libraries, the same faults.

How it works: `__main__` starts a `warden` for each cell of the table; the warden starts a `probe`, which owns one
pool, has one fault happen in it and writes down what it saw.  A probe may hang, or be killed as the fault itself:
the warden waits for it only so long, and ends whatever it left behind.
"""
