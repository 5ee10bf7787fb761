#!/bin/bash
# A real-time signal ends it.
kill -s RTMIN+1 $$
