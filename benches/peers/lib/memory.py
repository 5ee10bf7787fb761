"""Prints how many processes a group has, and the sum of their PSS and RSS."""
import os, subprocess, sys

group = sys.argv[1]
listing = [sys.executable, os.path.join(os.path.dirname(__file__), "cg.py"), "procs", group]
processes = subprocess.run(listing, capture_output=True, text=True, check=True).stdout.split()
pss = rss = 0
for process in processes:
    try:
        with open(f"/proc/{process}/smaps_rollup") as lines:
            for line in lines:
                if line.startswith("Pss:"):
                    pss += int(line.split()[1])
                elif line.startswith("Rss:"):
                    rss += int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        pass  # It has ended since.
print(f"{group}: {len(processes)} processes, PSS {pss / 1024:.0f} MiB, RSS {rss / 1024:.0f} MiB")
