"""Where tasks are done. All engines fill the same store.

base         the contract, and this process
processes    several processes on this machine
ray          a Ray cluster
"""
