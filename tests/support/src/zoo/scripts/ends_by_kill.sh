# A signal ends it: its code is 137.
kill -KILL $$
