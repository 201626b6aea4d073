"""Start a command and print its seconds, its peak memory in KiB and its exit code: `python -S launch.py WORD…`.

A process of its own, and a small one: Linux counts what its parent held when it was started to a command's peak.
"""

import os
import sys
import time

if __name__ == "__main__":
    begin = time.perf_counter()
    _, status, used = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ), 0)
    print(time.perf_counter() - begin, used.ru_maxrss, os.waitstatus_to_exitcode(status))
