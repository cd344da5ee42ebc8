"""Where tasks are done: in this process, in several on this machine, or on a Ray cluster. All fill the same store."""
